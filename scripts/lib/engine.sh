# Docker for the scripts: installs it on Debian, starts dockerd where no engine answers.
# Sourced; needs say/die from common.sh.

engine_install() {
  command -v dockerd >/dev/null 2>&1 && return 0
  docker version >/dev/null 2>&1 && return 0
  install_packages docker.io iptables
}

# Starts the engine unless one answers already. dockerd is left running: the platform needs it.
engine_start() {
  docker version >/dev/null 2>&1 && return 0
  command -v dockerd >/dev/null 2>&1 || die "no Docker engine answers and dockerd is not installed" \
    "install Docker (https://docs.docker.com/engine/install/) and run this again"
  if [ -d /run/systemd/system ]; then
    systemctl start docker || die "systemd could not start docker" "journalctl -u docker says why"
  else
    say "starting dockerd"
    # --live-restore keeps containers running while dockerd is restarted.
    setsid dockerd --live-restore >/var/log/dockerd.log 2>&1 </dev/null &
  fi
  local deadline=$((SECONDS + 60))
  until docker version >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || die "dockerd did not answer within 60 s" "see /var/log/dockerd.log"
    sleep 0.2
  done
}
