#!/bin/sh
# Tests the candidate at URL, as release RELEASE of APP. Each line says what was asked and what came.
set -u
wrong=0

# expect PATH TEXT: the answer at PATH has to contain TEXT.
expect() {
  answer=$(curl -sS --max-time 10 "$URL$1" 2>&1)
  case $answer in
    *"$2"*) echo "ok     $1" ;;
    *) echo "wrong  $1: '$2' is not in '$answer'"; wrong=$((wrong + 1)) ;;
  esac
}

expect /health '"healthy": true'
expect /greeting "\"version\": \"$RELEASE\""
exit "$wrong"
