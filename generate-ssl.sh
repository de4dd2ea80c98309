#!/bin/sh
# Creates a self-signed certificate for nginx: nginx/ssl/cert.pem and key.pem.
# Usage: ./generate-ssl.sh [--force] [NAME-OR-ADDRESS ...]
set -eu

case "$0" in
  */*) folder="${0%/*}/nginx/ssl" ;;
  *) folder="nginx/ssl" ;;
esac
names="DNS:localhost,IP:127.0.0.1,IP:::1"
force=no
days=825

for argument in "$@"; do
  case "$argument" in
    --force) force=yes ;;
    -h | --help)
      sed -n '2,3s/^# //p' "$0"
      exit 0
      ;;
    -*)
      echo "Unknown option $argument. Usage: $0 [--force] [NAME-OR-ADDRESS ...]" >&2
      exit 2
      ;;
    *[!A-Za-z0-9.:*-]* | "")
      echo "'$argument' is neither a host name nor an address." >&2
      exit 2
      ;;
    *[!0-9.]*)
      case "$argument" in
        *:*) names="$names,IP:$argument" ;;
        *) names="$names,DNS:$argument" ;;
      esac
      ;;
    *) names="$names,IP:$argument" ;;
  esac
done

if ! command -v openssl > /dev/null 2>&1; then
  echo "openssl is not installed. Install it (Debian and Ubuntu: apt install openssl; macOS: brew install openssl) and try again." >&2
  exit 1
fi
if [ "$force" = no ] && { [ -e "$folder/cert.pem" ] || [ -e "$folder/key.pem" ]; }; then
  echo "A certificate already exists in $folder. To replace it, run $0 --force" >&2
  exit 1
fi

mkdir -p "$folder"
work="$(mktemp -d "$folder/.new-XXXXXX")"
trap 'rm -rf "$work"' EXIT
umask 077
if ! openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days "$days" \
  -keyout "$work/key.pem" -out "$work/cert.pem" \
  -subj "/CN=localhost" -addext "subjectAltName=$names" \
  -addext "basicConstraints=critical,CA:FALSE" \
  -addext "keyUsage=digitalSignature,keyEncipherment" \
  -addext "extendedKeyUsage=serverAuth" 2> "$work/log"; then
  cat "$work/log" >&2
  exit 1
fi
chmod 600 "$work/key.pem"
chmod 644 "$work/cert.pem"
mv "$work/key.pem" "$folder/key.pem"
mv "$work/cert.pem" "$folder/cert.pem"
echo "Created $folder/cert.pem and key.pem for $names, valid for $days days."
echo "Browsers show a warning for self-signed certificates. For a public server, use Let's Encrypt: docs/operations.md."
