# The base images that the Dockerfiles name. They are pulled; where no image registry answers but
# Debian's mirror does, a stand-in of the same name is made by debootstrap. Sourced.

# base_image NAME SUITE PACKAGES: makes sure that image NAME exists.
base_image() {
  local name=$1 suite=$2 packages=$3
  docker image inspect "$name" >/dev/null 2>&1 && return 0
  say "pulling $name"
  timeout 60 docker pull -q "$name" >/dev/null 2>&1 && return 0
  is_debian || die "image $name cannot be pulled" "make a registry reachable, or load the image with 'docker load'"
  say "no image registry answers: making $name from Debian $suite"
  install_packages debootstrap ca-certificates
  base_stand_in "$name" "$suite" "$packages"
}

base_stand_in() {
  local name=$1 suite=$2 packages=$3 mirror tree recipe log
  mirror=$(debian_mirror)
  tree=$(mktemp -d)
  # Every known suite is set up alike since 2012; an older debootstrap only lacks the newer names.
  recipe=/usr/share/debootstrap/scripts/$suite
  [ -e "$recipe" ] || recipe=/usr/share/debootstrap/scripts/sid
  log=$(mktemp)
  debootstrap --variant=minbase --include="ca-certificates${packages:+,$packages}" \
    "$suite" "$tree" "$mirror" "$recipe" >"$log" 2>&1 ||
    { tail -5 "$log" >&2; rm -rf "$tree"; die "debootstrap could not make $name" "the whole log is $log"; }
  rm -f "$log"
  # What apt needs inside is what it needs outside.
  cp -a /etc/apt/apt.conf.d/. "$tree/etc/apt/apt.conf.d/" 2>/dev/null || true
  [ ! -e /etc/apt/apt.conf ] || cp /etc/apt/apt.conf "$tree/etc/apt/"
  printf 'deb %s %s main\n' "$mirror" "$suite" >"$tree/etc/apt/sources.list"
  # A testing suite's Release file may be past its date on a mirror that is not refreshed.
  printf 'Acquire::Check-Valid-Until "false";\n' >"$tree/etc/apt/apt.conf.d/80valid-until"
  printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
  chmod +x "$tree/usr/sbin/policy-rc.d"
  rm -rf "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/*
  tar -C "$tree" -c . | docker import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'CMD ["bash"]' - "$name" >/dev/null
  rm -rf "$tree"
}

# The mirror that this machine's apt uses, so that a site's own mirror is honoured.
debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Suite: stable' 2>/dev/null | grep -m1 '/debian/\?$' || true)
  [ -n "$mirror" ] || mirror=$(sed -n 's/^URIs: *\(http[^ ]*\/debian\/\?\)$/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -1)
  printf '%s' "${mirror:-http://deb.debian.org/debian}"
}
