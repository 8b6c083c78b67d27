// Files inside archives: tar, zip and ar, plain or compressed with gzip, bzip2, xz, lzma or zstd, as a stream. Nothing
// is written to disk, and nothing is kept in memory.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "data/text/byte_source.h"

namespace troupe {

// `path` is the name in the archive, whose bytes may be any, without "./" or "/" in front. `bytes` ends with the visit.
using MemberVisitor = std::function<void(const std::string& path, ByteSource& bytes)>;

// Calls `visit` for every regular file, in the order of the archive; what it does not read is passed over. Folders,
// links (hard ones name a file that was there before) and devices are no files; zip says only at its end what is a
// link, so there a symbolic one is a file that holds its target. An archive inside is one more source: call this for it
// again. Throws Error(kData) for damage and for what is no archive; whatever damage is found during a visit, by the
// visitor too, has the member's path in front: "a.tar.xz: b.txt: expected ...".
void for_each_member(ByteSource& archive, const MemberVisitor& visit);

// What `bytes`, which must outlive it, holds once it is decompressed with gzip, bzip2, xz, lzma or zstd, any number of
// streams one after the other; bytes that are not compressed as they are. Reading throws Error(kData) for damage.
std::unique_ptr<ByteSource> decompressed_source(ByteSource& bytes);

}  // namespace troupe
