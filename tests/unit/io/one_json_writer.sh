#!/bin/sh
# JSON is written by io/json_text.cpp alone (it cannot fail on bytes that are not UTF-8): nobody else calls nlohmann's
# dump(), streams its values or formats a value behind a key by hand.
# Usage: one_json_writer.sh SOURCE_FOLDER
cd "$1" || exit 1
found=$(grep -rnE '\.dump\(|->dump\(|<< *nlohmann::|\\":(\\")?\{\}' --include='*.cpp' --include='*.h' .)
if [ "$(echo "$found" | cut -d: -f1 | sort -u)" != ./io/json_text.cpp ]; then
  echo "expected JSON to be written in ./io/json_text.cpp alone, got:"
  echo "$found"
  exit 1
fi
