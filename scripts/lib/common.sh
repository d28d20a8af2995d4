# Shared by the scripts beside it: messages, package installation. Sourced, never run.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

# die WHAT REMEDY: one clear end.
die() {
  printf 'error: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  what helps: %s\n' "$2" >&2
  exit 1
}

is_debian() { [ -e /etc/debian_version ] && command -v apt-get >/dev/null 2>&1; }

# install_packages PACKAGE...: on Debian as root; elsewhere says what is missing and stops.
install_packages() {
  if ! is_debian || [ "$(id -u)" != 0 ]; then
    die "missing on this system: $*" "install it with your package manager (on Debian, run this as root)"
  fi
  local missing=() package policy made
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  [ -n "${APT_UPDATED:-}" ] || { apt-get update -qq; APT_UPDATED=1; }
  # A policy of 101 keeps packages from starting their services: the platform starts what it needs.
  policy=/usr/sbin/policy-rc.d
  made=
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; made=1; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    { [ -z "$made" ] || rm -f "$policy"; die "apt-get could not install ${missing[*]}" "see its messages above"; }
  [ -z "$made" ] || rm -f "$policy"
}
