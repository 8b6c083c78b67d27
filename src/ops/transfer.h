// The edges between the host and where tensors lie: files, seeds, batches and samples are the host's. Where both are
// the host's memory, to_host and from_host copy nothing.
#pragma once

#include <span>

#include "base/device.h"
#include "ops/elementwise.h"
#include "tensor/buffer.h"

namespace troupe {

// Where the host keeps what comes from the device or goes there: pinned, if there is one.
Memory& staging_memory();

// dst = src, of one size, whichever side either is on.
template <class T>
void copy(std::span<const T> src, std::span<T> dst) {
  const auto size = static_cast<int64_t>(dst.size());
  run(Copy<T>{{src.data(), 1, size}, {dst.data(), 1, size}});
}

// What the host may read: `values`, or a copy of them in `room`.
template <class T>
std::span<const T> to_host(std::span<const T> values, Buffer<T>& room) {
  if (active_device() == Device::kCpu) return values;
  room.reserve(static_cast<int64_t>(values.size()));
  const std::span<T> copied = room.span().first(values.size());
  copy<T>(values, copied);
  return copied;
}

// Value `i`.
template <class T>
T to_host(std::span<const T> values, int64_t i) {
  Buffer<T> room;
  return to_host<T>(values.subspan(static_cast<size_t>(i), 1), room)[0];
}

// What ops may read: the host's `values`, or a copy of them in `room`, which is the device's.
template <class T>
std::span<const T> to_device(std::span<const T> values, Buffer<T>& room) {
  if (active_device() == Device::kCpu) return values;
  room.reserve(static_cast<int64_t>(values.size()));
  const std::span<T> copied = room.span().first(values.size());
  copy<T>(values, copied);
  return copied;
}

// values = what compute(span that ops may write, of the same size) puts there; on a device that is in `room`, which is
// the device's.
template <class T, class Compute>
void from_device(std::span<T> values, Buffer<T>& room, const Compute& compute) {
  if (active_device() == Device::kCpu) return static_cast<void>(compute(values));
  room.reserve(static_cast<int64_t>(values.size()));
  const std::span<T> computed = room.span().first(values.size());
  compute(computed);
  copy<T>(computed, values);
}

// edit(span of the host's) changes `values`, or a copy of them that goes back.
template <class T, class Edit>
void on_host(std::span<T> values, const Edit& edit) {
  if (active_device() == Device::kCpu) return static_cast<void>(edit(values));
  Buffer<T> room(static_cast<int64_t>(values.size()));
  copy<T>(values, room.span());
  edit(room.span());
  copy<T>(room.span(), values);
}

// values = what write(span of the host's, of the same size) puts there.
template <class T, class Write>
void from_host(std::span<T> values, const Write& write) {
  if (active_device() == Device::kCpu) return static_cast<void>(write(values));
  Buffer<T> room(static_cast<int64_t>(values.size()));
  write(room.span());
  copy<T>(room.span(), values);
}

}  // namespace troupe
