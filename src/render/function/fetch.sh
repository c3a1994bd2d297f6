#!/bin/sh
# Brings the source into $WORKSPACE/app and the build environment into $WORKSPACE/platform.
# Everything a user chose arrives as an environment variable and is only ever used in quotes.
set -eu

app="$WORKSPACE/app"
platform="$WORKSPACE/platform"
fetched="$WORKSPACE/fetched"
rm -rf -- "$app" "$platform" "$fetched"
mkdir -p -- "$app" "$platform/env" "$fetched"

fail() {
  printf 'elpio: %s\n' "$1" >&2
  exit 1
}

# A branch, a tag or a whole commit is fetched alone; anything else (a short commit) needs the whole history.
fetch_git() {
  export GIT_TERMINAL_PROMPT=0
  git init --quiet -- "$fetched"
  cd -- "$fetched"
  if git fetch --quiet --depth=1 -- "$SOURCE_URL" "$SOURCE_REVISION"; then
    git checkout --quiet --detach FETCH_HEAD --
  else
    git fetch --quiet --tags -- "$SOURCE_URL" '+refs/heads/*:refs/remotes/origin/*'
    git checkout --quiet --detach "$SOURCE_REVISION" -- || fail "there is no revision $SOURCE_REVISION"
  fi
  rm -rf -- "$fetched/.git"
}

# tar finds the compression by itself. An archive that holds one folder and nothing else stands for that folder.
fetch_archive() {
  archive="$WORKSPACE/archive"
  curl --fail --silent --show-error --location --proto '=https' --proto-redir '=https' --retry 3 --output "$archive" -- "$SOURCE_ARCHIVE"
  if [ "$(head -c 2 -- "$archive")" = PK ]; then
    unzip -q "$archive" -d "$fetched"
  else
    tar --extract --no-same-owner --file "$archive" --directory "$fetched"
  fi
  rm -f -- "$archive"
  set -- "$fetched"/* "$fetched"/.[!.]*
  first=
  for entry in "$@"; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then
      [ -z "$first" ] || return 0
      first="$entry"
    fi
  done
  [ -n "$first" ] || fail "the archive is empty"
  if [ -d "$first" ] && [ ! -L "$first" ]; then fetched="$first"; fi
}

if [ -n "$SOURCE_URL" ]; then fetch_git; else fetch_archive; fi

cd -- "$fetched"
whole="$(pwd -P)"
if [ -n "$SOURCE_SUBPATH" ]; then
  [ -d "./$SOURCE_SUBPATH" ] || fail "there is no folder $SOURCE_SUBPATH in the source"
  cd -- "./$SOURCE_SUBPATH"
fi
case "$(pwd -P)/" in
"$whole"/*) ;;
*) fail "$SOURCE_SUBPATH leads out of the source" ;;
esac
cp -a -- . "$app/"
cd -- "$WORKSPACE"
rm -rf -- "$WORKSPACE/fetched"

if [ -n "$ENTRYPOINT" ]; then
  rm -f -- "$app/Procfile"
  printf 'web: %s\n' "$ENTRYPOINT" >"$app/Procfile"
fi
printf '%s' "$RUNTIME" >"$platform/env/RUNTIME"

# The builder runs as a user of this group and writes into the source. Where the volume has given the group already, this is refused and not needed.
chgrp -R "$GROUP" -- "$app" "$platform" 2>/dev/null || true
chmod -R g+rwX -- "$app" "$platform"
