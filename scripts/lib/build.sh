# Building: the binary, the images, the demo's artefact. Sourced; needs common.sh.

# Flags and target are set in .cargo/config.toml, once, for whoever builds.
TARGET=$(rustc -vV 2>/dev/null | sed -n 's/^host: //p')
BINARY=${CARGO_TARGET_DIR:-$ROOT/target}/$TARGET/release/platformer

build_binary() {
  command -v cargo >/dev/null 2>&1 || die "there is no Rust on this machine" "install it from https://rustup.rs, then run this again"
  command -v cc >/dev/null 2>&1 || install_packages gcc libc6-dev
  say "building the binary"
  (cd "$ROOT" && cargo build --release --locked --quiet) ||
    die "the binary does not build" "see the messages above"
}

# image NAME FOLDER [ARGUMENT...]: builds an image with the classic builder, which every Docker has.
image() {
  local name=$1 folder=$2 log
  shift 2
  say "building image $name"
  log=$(mktemp)
  DOCKER_BUILDKIT=0 docker build -q -t "$name" "$@" "$folder" >"$log" 2>&1 ||
    { tail -20 "$log" >&2; die "image $name does not build" "the whole log is $log"; }
  rm -f "$log"
}

# app_base: the generic app image and its base.
build_app_base() {
  base_image debian:bookworm-slim bookworm ""
  image platformer/app-base "$ROOT/images/app-base" ${APP_PACKAGES:+--build-arg "PACKAGES=$APP_PACKAGES"}
}

# The demo's gate, made from the app image.
build_gate() {
  image platformer/gate "$ROOT/images/gate"
}

build_platform_image() {
  base_image nginx:1.30 forky nginx
  local context
  context=$(mktemp -d)
  cp "$ROOT/images/platformer/Dockerfile" "$BINARY" "$context/"
  image platformer/platformer "$context"
  rm -rf "$context"
}

# demo_artefact VERSION FOLDER: packs the demo app. The same source gives the same bytes.
demo_artefact() {
  local version=$1 folder=$2 stage
  [ ! -e "$folder/hello-world.tar.gz" ] || return 0
  mkdir -p "$folder"
  stage=$(mktemp -d)
  cp "$ROOT/demo/hello-world/app.py" "$stage/"
  printf '%s\n' "$version" >"$stage/VERSION"
  tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u=rw,go=r -c ./VERSION ./app.py |
    gzip -n >"$folder/hello-world.tar.gz.new"
  mv "$folder/hello-world.tar.gz.new" "$folder/hello-world.tar.gz"
  rm -rf "$stage"
}
