#!/bin/sh
# startup.sh APP REPOSITORY-HOST
#
# Fetches the config and the artefact of an app from the repository, unpacks it, and starts it.
# APP_NAME and REPO_BASE_URL serve in place of the two arguments. STARTUP_TIMEOUT (60) is how many
# seconds an unreachable repository is waited for; what it answers with a 404 fails at once.
set -eu
umask 022

fail() {
  printf 'startup: %s\n' "$1" >&2
  exit "${2:-1}"
}

app=${1:-${APP_NAME:-}}
repository=${2:-${REPO_BASE_URL:-}}
[ -n "$app" ] || fail "which app? write startup.sh APP REPOSITORY-HOST, or set APP_NAME" 64
[ -n "$repository" ] || fail "which repository? write startup.sh APP REPOSITORY-HOST, or set REPO_BASE_URL" 64
case $app in
  -* | *[!a-z0-9-]*) fail "'$app' is no app name: only a-z, 0-9 and '-' are allowed" 64 ;;
esac
case $repository in
  http://* | https://*) base=${repository%/} ;;
  *) base=http://$repository ;;
esac
case ${STARTUP_TIMEOUT:=60} in
  *[!0-9]*) fail "STARTUP_TIMEOUT is '$STARTUP_TIMEOUT', a number of seconds is wanted" 64 ;;
esac

home=/opt/app
work=$(mktemp -d "${TMPDIR:-/tmp}/startup.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT
deadline=$(($(date +%s) + STARTUP_TIMEOUT))

if [ -n "${PLATFORMER_TOKEN:-}" ]; then
  (umask 077 && printf 'Authorization: Bearer %s\n' "$PLATFORMER_TOKEN" >"$work/token")
fi

# fetch PATH FILE WHAT: saves PATH of the repository to FILE, its headers to FILE.headers.
fetch() {
  while :; do
    # The token goes through a file of ours: arguments are seen by every process.
    status=$(curl -sS ${PLATFORMER_TOKEN:+-H "@$work/token"} --connect-timeout 3 --speed-limit 1 --speed-time 30 \
      -o "$2" -D "$2.headers" -w '%{http_code}' "$base$1" 2>"$work/error") && cut= || cut=1
    case $status in
      200) [ -n "$cut" ] || return 0 ;;
      404) fail "the repository has no $3: $base$1 answers 404" 66 ;;
      422) fail "the $3 is broken: $(head -c 300 "$2")" 65 ;;
      4??) fail "the repository refuses the $3: $base$1 answers $status" 77 ;;
    esac
    [ "$(date +%s)" -lt "$deadline" ] ||
      fail "no $3 from $base within $STARTUP_TIMEOUT s (status $status) $(head -c 300 "$work/error")" 69
    sleep 0.2
  done
}

header() {
  tr -d '\r' <"$1.headers" | sed -n "s/^$2: *//Ip" | tail -n 1
}

fetch "${PLATFORMER_CONFIG:-/config/$app/$app.config}?as=sh" "$work/config" "config of $app"
# Only what the platform's repository quoted for a shell is evaluated, never a page of somebody else.
case $(header "$work/config" content-type) in
  text/x-shellscript*) ;;
  *) fail "$base is no platformer repository: it does not answer ?as=sh" 65 ;;
esac

fetch "${PLATFORMER_ARTEFACT:-/files/$app/$app.tgz}" "$work/artefact" "artefact of $app"
expected=$(header "$work/artefact" etag | tr -d '"')
case $expected in
  *[!0-9a-f]* | '') printf 'startup: %s tells no SHA-256, the artefact is not verified\n' "$base" >&2 ;;
  *)
    actual=$(sha256sum "$work/artefact" | cut -d' ' -f1)
    [ "$actual" = "$expected" ] || fail "the artefact of $app is altered: SHA-256 $actual, $expected was announced" 65
    ;;
esac

# Unpacked beside its place and moved there, so that half an app never starts.
new=$home/files.new
rm -rf "$new"
mkdir "$new"
case $(od -An -tx1 -N4 "$work/artefact" | tr -d ' \n') in
  1f8b*) tar -xzf "$work/artefact" -C "$new" --no-same-owner ;;
  28b52ffd) zstd -dcq "$work/artefact" | tar -xf - -C "$new" --no-same-owner ;;
  # 1 is a warning: everything is unpacked.
  504b0304) unzip -qo "$work/artefact" -d "$new" || [ $? -eq 1 ] ;;
  *) tar -xf "$work/artefact" -C "$new" --no-same-owner ;;
esac >"$work/error" 2>&1 || {
  status=$?
  # unzip names the file in brackets first.
  reason=$(sed -n '/^\[/d; s/^ *//; /./{p;q;}' "$work/error")
  fail "the artefact of $app cannot be unpacked: ${reason:-its program ended with $status and without a word}" 65
}
[ -n "$(ls -A "$new")" ] || fail "the artefact of $app is empty" 65
rm -rf "$home/files"
mv "$new" "$home/files"

. "$work/config"
[ -n "${STARTUP_COMMAND:-}" ] || fail "the config of $app has no STARTUP_COMMAND" 65
cd "$home/files"
rm -rf "$work"
trap - EXIT TERM INT
exec sh -c "$STARTUP_COMMAND"
