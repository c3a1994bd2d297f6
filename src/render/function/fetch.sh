#!/bin/sh
# Brings the source into $WORKSPACE/app and the build environment into $WORKSPACE/platform.
# Everything a user chose arrives as an environment variable and is only ever used in quotes.
# A failure ends the log with one line, the first cause; where $CAUSE names a file, that line is there too.
# A server is named by its host: a user name, a password or a query in a URL is never printed.
set -eu

# The limits of a source: bytes of an archive, bytes and entries of what it unpacks to (git: of the checkout).
max_archive=536870912
max_unpacked=1073741824
max_entries=200000

app="$WORKSPACE/app"
platform="$WORKSPACE/platform"
fetched="$WORKSPACE/fetched"
archive="$WORKSPACE/archive"
notes="$WORKSPACE/notes"
log="$notes/log"
rm -rf -- "$app" "$platform" "$fetched" "$archive" "$notes"
mkdir -p -- "$app" "$platform/env" "$fetched" "$notes"
: >"$log"

# Names are UTF-8 and messages English, whatever the image says.
export LC_ALL=C.UTF-8
unset LANGUAGE

# One line of a length that fits a message.
report() {
  line="$(printf '%s' "$1" | tr '[:cntrl:]' ' ' | cut -c1-600)"
  printf 'elpio: %s\n' "$line" >&2
}

fail() {
  trap - EXIT
  report "$1"
  [ -z "${CAUSE:-}" ] || printf '%s' "$line" >"$CAUSE"
  exit 1
}

trap 'code=$?; [ "$code" = 0 ] || fail "the source was not prepared (exit code $code)"' EXIT

# What a tool printed, without credentials and queries in URLs.
redacted() {
  sed -e "s#://[^[:space:]'\"]*@#://#g" -e "s#\(://[^[:space:]'\"?]*\)?[^[:space:]'\"]*#\1#g" -- "$log"
}

# The first line in which a tool says why it failed.
cause() {
  redacted >"$notes/redacted"
  line="$(sed -n -E '/^(fatal|error|ERROR|curl|tar|gzip|bzip2|xz):/{p;q;}' "$notes/redacted")"
  [ -n "$line" ] || line="$(sed -n '/^[^[]*[[:alpha:]]/{s/^ *//;p;q;}' "$notes/redacted")"
  printf '%s' "${line:-no cause was given}" | sed -E \
    -e 's/^(fatal|error|curl|tar): //' -e 's/^\([0-9]+\) //' -e "s/^unable to access '[^']*': //"
}

# Ends with the cause after these words, and puts the tool's whole output before it.
fail_with() {
  redacted >&2
  fail "$1: $(cause)"
}

logged() {
  grep -qiE -- "$1" "$log"
}

# host[:port] of a URL. What does not look like one is not printed.
host_of() {
  case "$1" in
  *://*) host="${1#*://}" ;;
  *) host= ;;
  esac
  host="${host%%[/?#]*}"
  host="${host##*@}"
  case "$host" in
  '' | *[!A-Za-z0-9.:_-]* | *:*[!0-9]*) host='the server' ;;
  esac
  printf '%s' "$host"
}

# git never asks, gives a stalled transfer up, and follows redirects to https alone.
in_git() {
  git -c protocol.allow=never -c protocol.https.allow=always -c protocol.http.allow=user \
    -c protocol.file.allow=user "$@" </dev/null 2>"$log"
}

# One broken answer is no verdict: a request is repeated, unless its answer is final.
persist() {
  for pause in 1 3 0; do
    if in_git "$@" >"$notes/out"; then return 0; fi
    if [ "$pause" = 0 ] || logged "$final"; then return 1; fi
    redacted >&2
    sleep "$pause"
  done
}
refused='shallow|dumb http|unadvertised|not our ref|find remote ref|did not contain'
final="$refused|error: (3|4(0[0-79]|1|[3-9]))|not found|authentication failed|could not read|certificate"
final="$final|timed out|not allowed|not supported or disabled|does not (exist|appear)|not valid: is this"

fail_fetch() {
  if logged 'could not read (username|password)'; then
    redacted >&2
    fail "cannot fetch $1: $2 asks for a user name and a password: is it private, or its name wrong?"
  elif logged 'not resolve|failed to connect|connect to server|timed out|too slow|connection reset'; then
    fail_with "cannot reach $2 to fetch $1"
  fi
  fail_with "cannot fetch $1 from $2"
}

# A refspec without its history; with it where the server cannot do that.
fetch_ref() {
  if persist fetch --quiet --no-tags --depth=1 -- origin "$1"; then return 0; fi
  logged "$refused" || cp -- "$log" "$notes/first"
  if persist fetch --quiet --no-tags -- origin "$1"; then return 0; fi
  if [ -e "$notes/first" ]; then cp -- "$notes/first" "$log"; fi
  return 1
}

# The advertised name of the revision, in git's own order; for a whole commit id a ref that it is the tip of.
advertised() {
  awk -F '\t' '
    BEGIN {
      want = ENVIRON["SOURCE_REVISION"]
      whole = want ~ /^[0-9A-Fa-f]+$/ && (length(want) == 40 || length(want) == 64)
    }
    { name = $2; sub(/\^\{\}$/, "", name) }
    whole { if ($1 == tolower(want)) at[1] = name; next }
    name == want { at[1] = name }
    name == "refs/" want { at[2] = name }
    name == "refs/tags/" want { at[3] = name }
    name == "refs/heads/" want { at[4] = name }
    END { for (i = 1; i <= 4; i++) if (i in at) { print at[i]; exit } }' "$notes/refs"
}

commit_of() {
  case "$1" in
  -*) return 1 ;;
  esac
  git rev-parse --verify --quiet --end-of-options "$1^{commit}" 2>"$log"
}

fetch_git() {
  export GIT_TERMINAL_PROMPT=0 GIT_LFS_SKIP_SMUDGE=1
  export GIT_HTTP_LOW_SPEED_LIMIT=1 GIT_HTTP_LOW_SPEED_TIME="${GIT_HTTP_LOW_SPEED_TIME:-120}"
  unset GIT_ASKPASS SSH_ASKPASS
  need git
  server="$(host_of "$SOURCE_URL")"
  git init --quiet --template= -- "$fetched"
  cd -- "$fetched"
  git remote add -- origin "$SOURCE_URL" 2>"$log" || fail_with 'the URL of the source is wrong'
  persist ls-remote -- origin || fail_fetch "the source" "$server"
  mv -- "$notes/out" "$notes/refs"
  [ -s "$notes/refs" ] || fail "the repository at $server is empty"
  fetch_commit
  without "$(git ls-tree -r -l --full-tree "$commit" | faults 4 / "$counted")"
  in_git checkout --quiet --detach --force "$commit" -- || fail_with 'cannot check the source out'
  fetch_submodules
  fetch_lfs
  find "$fetched" -name .git -prune -exec rm -rf -- {} +
}

# Sets $commit. What is no ref and no whole id (a short id, v1~2) needs all branches and tags.
fetch_commit() {
  commit=
  ref="$(advertised)"
  id="$SOURCE_REVISION"
  case "${#id}:$id" in
  40:*[!0-9A-Fa-f]* | 64:*[!0-9A-Fa-f]*) id= ;;
  40:* | 64:*) ;;
  *) id= ;;
  esac
  if [ -z "$id" ] && [ -n "$ref" ]; then
    fetch_ref "+$ref:refs/elpio/source" || fail_fetch "the revision $SOURCE_REVISION" "$server"
    commit="$(commit_of refs/elpio/source)" || fail "the revision $SOURCE_REVISION is no commit"
    return 0
  fi
  if [ -n "$id" ] && persist fetch --quiet --no-tags --depth=1 -- origin "$id"; then
    commit="$(commit_of "$id")" || commit=
  fi
  if [ -z "$commit" ]; then
    set -- '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*'
    [ -z "$ref" ] || set -- "$@" "+$ref:refs/elpio/source"
    persist fetch --quiet --update-head-ok --no-tags -- origin "$@" || fail_fetch "the source" "$server"
    commit="$(commit_of "$SOURCE_REVISION")" || {
      if logged ambiguous; then fail "the revision $SOURCE_REVISION is ambiguous in the source"; fi
      fail "there is no revision $SOURCE_REVISION in the branches and tags of the source at $server"
    }
  fi
}

# Submodules come by https, or as the source itself does: so does its own host where .gitmodules says ssh.
fetch_submodules() {
  [ -e .gitmodules ] || [ -L .gitmodules ] || {
    links="$(git ls-tree -r --full-tree "$commit" | grep '^160000' | cut -f 2 | head -n 5)"
    [ -z "$links" ] || report "warning: .gitmodules is missing, so the submodules stay empty: $links"
    return 0
  }
  set -- submodule --quiet update --init --recursive --force
  ours="${SOURCE_URL%%://*}://$server/"
  set -- -c "url.$ours.insteadOf=ssh://git@$server/" -c "url.$ours.insteadOf=git@$server:" "$@"
  case "$(git ls-remote --get-url -- "$SOURCE_URL")" in
  http://*) set -- -c protocol.http.allow=always "$@" ;;
  /* | file://*) set -- -c protocol.file.allow=always "$@" ;;
  esac
  if in_git "$@" --depth=1; then return 0; fi
  in_git submodule --quiet deinit --all --force || true
  rm -rf -- "$fetched/.git/modules"
  persist "$@" && return 0
  path="$(sed -n "s/.*submodule path '\([^']*\)'.*/\1/p" "$log" | head -n 1)"
  path="${path#"$fetched/"}"
  fail_with "cannot fetch the submodule${path:+ $path}"
}

# Files that only point to Git LFS, in the part of the source that is built.
lfs_pointers() {
  part="./$SOURCE_SUBPATH"
  [ -d "$part" ] || part=.
  find "$part" -name .git -prune -o -type f -size -1025c \
    -exec grep -lx 'version https://git-lfs.github.com/spec/v1' {} + 2>/dev/null \
    | while IFS= read -r file; do
      if grep -q '^oid sha256:[0-9a-f]' "$file"; then printf '%s\n' "${file#./}"; fi
    done >"$notes/pointers"
  count="$(wc -l <"$notes/pointers")"
  files="$(head -n 5 "$notes/pointers" | tr '\n' ' ')"
  [ "$count" -le 5 ] || files="$files..."
  [ "$count" -gt 0 ]
}

warn_of_pointers() {
  report "warning: $count files are Git LFS pointers, not their content: $files"
}

fetch_lfs() {
  lfs_pointers || return 0
  find . -name .gitattributes -exec grep -q 'filter=lfs' {} \; -print >"$notes/attributes"
  if [ ! -s "$notes/attributes" ]; then
    warn_of_pointers
    return 0
  fi
  git lfs version >/dev/null 2>&1 || fail \
    "$count files of the source are in Git LFS, and the fetch image has no git-lfs: $files"
  pull='git lfs install --local >/dev/null && git lfs pull'
  { in_git lfs install --local && in_git lfs pull && in_git submodule --quiet foreach --recursive "$pull"; } \
    >"$notes/out" || fail_with 'cannot fetch the files in Git LFS'
  if lfs_pointers; then fail "Git LFS has left $count pointers: $files"; fi
}

# For awk: what is too much or must not be in a list of names and sizes. It prints the first fault.
counted='
  { bytes += $size; entries++ }
  bytes > '"$max_unpacked"' { print too "'"$((max_unpacked / 1048576))"' MiB"; exit }
  entries > '"$max_entries"' { print too "'"$max_entries"' files and folders"; exit }'
placed='
  { name = $0; sub(/^(\.\/)+/, "", name) }
  name ~ "^" sep || (sep != "/" && name ~ /^[A-Za-z]:[\/\\]/) { print no "has an absolute path: " name; exit }
  name ~ "(^|" sep ")\\.\\.(" sep "|$)" { print no "leads out of the source: " name; exit }'

# faults COLUMN SEPARATOR PROGRAM: the column of the size; 1000 where there is none.
faults() {
  awk -v size="$1" -v sep="$2" -v too='the source is too big: it unpacks to more than ' \
    -v no='the archive is refused: an entry ' "$3"
}

without() {
  [ -z "$1" ] || fail "$1"
}

need() {
  command -v "$1" >/dev/null || fail "the fetch image has no $1"
}

# curl takes the URL as it is written, and stops at the limit also where no size was announced.
download() {
  need curl
  server="$(host_of "$SOURCE_ARCHIVE")"
  (
    ulimit -c 0 && ulimit -f "$((max_archive / 512))"
    exec curl --globoff --fail --silent --show-error --location --proto '=https' --proto-redir '=https' \
      --max-redirs 10 --connect-timeout 30 --speed-limit 1 --speed-time 60 --max-filesize "$max_archive" \
      --retry 3 --retry-connrefused --retry-max-time 120 --output "$archive" -- "$SOURCE_ARCHIVE"
  ) </dev/null 2>"$log" && code=0 || code=$?
  size=0
  if [ -f "$archive" ]; then size="$(wc -c <"$archive")"; fi
  # 63: announced; 153: the shell's limit ended the download.
  if [ "$code" = 63 ] || [ "$code" = 153 ] || [ "$size" -ge "$max_archive" ]; then
    fail "the archive is too big: it has more than $((max_archive / 1048576)) MiB"
  fi
  [ "$code" = 0 ] || fail_with "cannot download the archive from $server"
  [ "$size" -gt 0 ] || fail "$server sent an empty file, not an archive"
}

# The sort of an archive by its first bytes, and by its name where they say nothing.
sort_of() {
  case "$(head -c 6 -- "$archive" | od -An -tx1 | tr -d ' \n')" in
  504b030* | 504b050* | 504b070*) echo zip ;;
  1f8b* | 1f9d*) echo gzip ;;
  425a68*) echo bzip2 ;;
  fd377a585a00) echo xz ;;
  *)
    if [ "$(tail -c +258 -- "$archive" | head -c 5 | tr -d '\000')" = ustar ]; then
      echo tar
    elif [ "$(head -c 512 -- "$archive" | tr -d '\000\r\n\t \357\273\277' | head -c 1)" = '<' ]; then
      echo page
    else
      case "${SOURCE_ARCHIVE%%[?#]*}" in
      *.[zZ][iI][pP]) echo zip-by-name ;;
      *) echo tar ;;
      esac
    fi
    ;;
  esac
}

not_unpacked() {
  if logged 'not look like a tar' || { [ "$sort" = zip-by-name ] && logged 'signature not found'; }; then
    fail "what $server sent is no archive: .tar.gz, .tgz, .tar.bz2, .tar.xz, .tar and .zip are known"
  elif logged 'password'; then
    fail 'the archive is encrypted'
  fi
  fail_with 'the archive is damaged, cut short or cannot be unpacked'
}

# The tar inside of the archive, cut off where it is longer than a source may be.
tar_of() {
  { "$@" <"$archive" 2>>"$log" || echo "$?" >"$notes/unpacker"; } \
    | head -c "$((max_unpacked + max_entries * 2048))"
}

# Checks every entry before the first is unpacked. The list has a fixed number of columns before the name.
unpack_tar() {
  need tar
  need "$1"
  : >"$log"
  listed='
    { type = substr($0, 1, 1); sub(/^[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ +[^ ]+ /, "") }
    type ~ /[bcp]/ { print no "is a device or a pipe: " $0; exit }
    type == "h" && / link to (\/|(.*\/)?\.\.(\/|$))/ { print no "leads out of the source: " $0; exit }
    type == "l" { sub(/ -> .*/, "") }
    type == "h" { sub(/ link to .*/, "") }'
  without "$(tar_of "$@" | {
    tar --list --verbose --numeric-owner --absolute-names --file - 2>>"$log" || echo "$?" >"$notes/tar"
  } | faults 3 / "$counted$listed$placed")"
  # gzip ends with 2 for a warning. Where it fails, what tar makes of the rest is no cause.
  if [ -e "$notes/unpacker" ] && [ "$1 $(cat "$notes/unpacker")" != 'gzip 2' ]; then
    grep -v '^tar: ' "$log" >"$notes/unpacker" || true
    mv -- "$notes/unpacker" "$log"
    not_unpacked
  fi
  [ ! -e "$notes/tar" ] || not_unpacked
  tar_of "$@" | tar --extract --no-same-owner --no-same-permissions --file - --directory "$fetched" \
    2>>"$log" || not_unpacked
}

# unzip ends with 1 for a warning. What an entry unpacks to is measured: a list of sizes can lie.
unpack_zip() {
  need unzip
  unzip -Z1 "$archive" >"$notes/names" 2>"$log" </dev/null || [ "$?" = 1 ] || not_unpacked
  without "$(faults 1000 '[/\\\\]' "$counted$placed" <"$notes/names")"
  odd="$(unzip -Z -s "$archive" 2>/dev/null </dev/null | grep -m 1 '^[bcps][-r][-w][-xsStT]' || true)"
  without "${odd:+the archive is refused: an entry is a device or a pipe: $odd}"
  bytes="$(unzip -P '' -p "$archive" 2>/dev/null </dev/null | head -c "$((max_unpacked + 1))" | wc -c)"
  without "$(echo "$bytes" | faults 1 / "$counted")"
  unzip -q -o -P '' "$archive" -d "$fetched" </dev/null >"$log" 2>&1 && code=0 || code=$?
  case "$code" in
  0 | 1) ;;
  81) fail 'the archive has a compression that unzip does not know' ;;
  *) not_unpacked ;;
  esac
}

fetch_archive() {
  download
  sort="$(sort_of)"
  case "$sort" in
  page) fail "$server sent a web page, not an archive" ;;
  zip*) unpack_zip ;;
  tar) unpack_tar cat ;;
  *) unpack_tar "$sort" -d -c ;;
  esac
  rm -f -- "$archive"
  chmod -R u+rwX -- "$fetched"
  odd="$(find "$fetched" ! -type f ! -type d ! -type l | head -n 1)"
  without "${odd:+the archive is refused: an entry is a device or a pipe: ${odd#"$fetched/"}}"
  strip_folder
  refuse_links
  cd -- "$fetched"
  if lfs_pointers; then warn_of_pointers; fi
}

# An archive that holds one folder and nothing else stands for that folder. What macOS adds is no content.
strip_folder() {
  rm -rf -- "$fetched/__MACOSX" "$fetched/.DS_Store"
  first=
  set -- "$fetched"/* "$fetched"/.[!.]* "$fetched"/..?*
  for entry in "$@"; do
    beside="${entry##*/}"
    case "$beside" in
    ._?*) if [ -e "$fetched/${beside#._}" ]; then rm -f -- "$entry"; fi ;;
    esac
  done
  for entry in "$@"; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then
      [ -z "$first" ] || return 0
      first="$entry"
    fi
  done
  [ -n "$first" ] || fail "the archive is empty"
  if [ -d "$first" ] && [ ! -L "$first" ]; then fetched="$first"; fi
}

# A link in an archive stays inside of the source.
refuse_links() {
  whole="$(cd -- "$fetched" && pwd -P)"
  find "$fetched" -type l -exec realpath -m -z -- {} + | tr '\n\000' '\001\n' >"$notes/targets"
  outside="$(awk -v root="$whole/" 'index($0 "/", root) != 1 { print; exit }' "$notes/targets")"
  [ -n "$outside" ] || return 0
  link="$(find "$fetched" -type l | while IFS= read -r link; do
    if [ "$(realpath -m -- "$link")" = "$outside" ]; then printf '%s' "${link#"$fetched/"}" && break; fi
  done)"
  fail "the archive is refused: the link $link leads out of the source"
}

if [ -n "$SOURCE_URL" ]; then fetch_git; else fetch_archive; fi

cd -- "$fetched"
whole="$(pwd -P)"
if [ -n "$SOURCE_SUBPATH" ]; then
  [ -d "./$SOURCE_SUBPATH" ] || fail "there is no folder $SOURCE_SUBPATH in the source"
  cd -- "./$SOURCE_SUBPATH"
fi
here="$(pwd -P)"
case "$here/" in
"$whole"/*) ;;
*) fail "$SOURCE_SUBPATH leads out of the source" ;;
esac
cd -- "$WORKSPACE"
# Nobody gets another user's rights by a file of the source.
find "$here" ! -type l \( -perm -4000 -o -perm -2000 -o -perm -1000 \) -exec chmod u-s,g-s,-t -- {} +
# The source is moved: copied, it would need its space twice.
rmdir -- "$app"
mv -- "$here" "$app"
rm -rf -- "$WORKSPACE/fetched" "$notes"

if [ -n "$ENTRYPOINT" ]; then
  rm -rf -- "$app/Procfile"
  printf 'web: %s\n' "$ENTRYPOINT" >"$app/Procfile"
fi
printf '%s' "$RUNTIME" >"$platform/env/RUNTIME"

# The builder runs as a user of this group and writes into the source. Where the volume has given the group
# already, this is refused and not needed.
chgrp -R -- "$GROUP" "$app" "$platform" 2>/dev/null || true
chmod -R g+rwX -- "$app" "$platform"
