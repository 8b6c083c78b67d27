#include "kernels/cuda/driver.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "kernels/cuda/driver_api.h"
#include "kernels/cuda/switches.h"
#include "tensor/memory.h"

#ifdef TROUPE_CUDA_IMAGE
__asm__(
    ".section .rodata\n"
    ".balign 64\n"
    "troupe_cuda_image:\n"
    ".incbin \"" TROUPE_CUDA_IMAGE
    "\"\n"
    ".byte 0\n"
    ".previous\n");
extern "C" const char troupe_cuda_image[];
#endif

namespace troupe::cuda {
namespace {

constexpr size_t kStagedBytes = size_t{8} << 20;  // of the host, for what is copied to the card
constexpr int64_t kEvents = 64;

constexpr const char* kLibrary = "libcuda.so.1";

#ifdef TROUPE_CUDA_IMAGE
const void* image() { return troupe_cuda_image; }
constexpr const char* kImageCards = TROUPE_CUDA_CARDS;
#else
const void* image() { return nullptr; }
constexpr const char* kImageCards = "";
#endif

struct Driver {
  driver::Api api;
  std::string library, problem;  // problem: why there is none, or ""
  int version = 0, num_cards = 0;
  bool no_card = false;

  Driver() { problem = load(); }

  std::string why(driver::Result result) const {
    const char *name = nullptr, *text = nullptr;
    api.error_name(result, &name);
    api.error_text(result, &text);
    return fmt::format("{} ({})", name ? name : "unknown error", text ? text : fmt::format("number {}", result));
  }
  void check(driver::Result result, std::string_view what) const {
    if (result != 0) fail(ErrorCode::kEnvironment, "cuda: {}: expected success, got {}", what, why(result));
  }

 private:
  std::string load() {
    void* const handle = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (no_card = !handle; no_card) return fmt::format("no driver: {} is not there", kLibrary);
#define TROUPE_DRIVER(name, symbol, parameters)                                           \
  if (api.name = reinterpret_cast<decltype(api.name)>(dlsym(handle, #symbol)); !api.name) \
    return fmt::format("the driver is too old: {} has no {}", kLibrary, #symbol);
    TROUPE_DRIVER_FUNCTIONS
#undef TROUPE_DRIVER
    Dl_info info{};
    if (dladdr(reinterpret_cast<void*>(api.init), &info) && info.dli_fname) library = info.dli_fname;
    if (const driver::Result result = api.init(0); result != 0) {
      no_card = result == driver::kNoDevice;
      return "the driver does not start: " + why(result);
    }
    api.driver_version(&version);
    if (const driver::Result result = api.device_count(&num_cards); result != 0) return why(result);
    no_card = num_cards == 0;
    return no_card ? "the driver finds no card" : "";
  }
};

const Driver& the_driver() {
  static const Driver driver;
  return driver;
}

Card card_of(const Driver& driver, driver::Device device) {
  std::array<char, 256> name{}, place{};
  size_t bytes = 0;
  Card card;
  driver.check(driver.api.device_name(name.data(), static_cast<int>(name.size()), device), "cuDeviceGetName");
  driver.check(driver.api.device_place(place.data(), static_cast<int>(place.size()), device), "cuDeviceGetPCIBusId");
  driver.check(driver.api.device_memory(&bytes, device), "cuDeviceTotalMem");
  for (const auto& [attribute, value] : {std::pair{driver::kMultiprocessors, &card.multiprocessors},
                                         {driver::kMajor, &card.major},
                                         {driver::kMinor, &card.minor}})
    driver.check(driver.api.device_attribute(value, attribute, device), "cuDeviceGetAttribute");
  card.name = name.data(), card.place = place.data(), card.memory_bytes = static_cast<int64_t>(bytes);
  return card;
}

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

class CardMachine final : public Machine {
 public:
  CardMachine(const Driver& driver, int number, CardMemory memory)
      : driver_(driver), api_(driver.api), number_(number), managed_(memory == CardMemory::kManaged) {
    check(api_.device(&device_, number), "cuDeviceGet");
    card_ = card_of(driver, device_);
    check(api_.retain_context(&context_, device_), "cuDevicePrimaryCtxRetain");
    try {
      load();
    } catch (...) {
      close();
      throw;
    }
  }
  // With all that was made in it. Not by a destructor: when the process ends the driver may be gone.
  void close() { api_.release_context(device_); }

  std::string description() const override {
    return fmt::format("cuda:{} ({}, {:.1f} GiB, driver {})", number_, card_.name,
                       static_cast<double>(card_.memory_bytes) / (1 << 30), version_text(driver_.version));
  }

  void* allocate(int64_t bytes) override {
    enter();
    driver::Pointer pointer = 0;
    const driver::Result result =
        managed_ ? api_.allocate_managed(&pointer, static_cast<size_t>(bytes), driver::kAttachGlobal)
                 : api_.allocate(&pointer, static_cast<size_t>(bytes));
    if (result != 0) {
      size_t free = 0, total = 0;
      api_.memory_info(&free, &total);
      fail(ErrorCode::kEnvironment, "memory of {}: expected {} bytes, got {}: {} of {} bytes are free (--device cpu)",
           description(), bytes, driver_.why(result), free, total);
    }
    check(api_.fill(pointer, 0, static_cast<size_t>(bytes), stream_), "cuMemsetD8Async");
    if (managed_) wait();
    const std::lock_guard lock(mutex_);
    ranges_[pointer] = pointer + static_cast<driver::Pointer>(bytes);
    return reinterpret_cast<void*>(pointer);
  }

  void free(void* data) noexcept override {
    const auto pointer = reinterpret_cast<driver::Pointer>(data);
    api_.set_context(context_);
    api_.free(pointer);  // waits for what uses it
    const std::lock_guard lock(mutex_);
    ranges_.erase(pointer);
  }

  std::optional<int64_t> free_bytes() override {
    enter();
    size_t free = 0, total = 0;
    check(api_.memory_info(&free, &total), "cuMemGetInfo");
    return static_cast<int64_t>(free);
  }

  void copy(const void* src, int64_t src_pitch, void* dst, int64_t dst_pitch, int64_t width, int64_t rows) override {
    enter();
    const auto from = reinterpret_cast<driver::Pointer>(src), to = reinterpret_cast<driver::Pointer>(dst);
    const bool from_card = is_on_card(from), to_card = is_on_card(to);
    if (rows == 1) {
      const auto bytes = static_cast<size_t>(width);
      if (to_card && !from_card && !managed_ && bytes <= kStagedBytes / 2) return stage(src, to, bytes);
      if (from_card && to_card)
        check(api_.copy_on_device(to, from, bytes, stream_), "cuMemcpyDtoDAsync");
      else if (to_card)
        check(api_.copy_to_device(to, src, bytes, stream_), "cuMemcpyHtoDAsync");
      else if (from_card)
        check(api_.copy_to_host(dst, from, bytes, stream_), "cuMemcpyDtoHAsync");
      else
        std::memcpy(dst, src, bytes);
    } else {
      driver::Copy2D copy;
      copy.src_type = from_card ? driver::kDevice : driver::kHost;
      copy.dst_type = to_card ? driver::kDevice : driver::kHost;
      copy.src_host = src, copy.src_device = from, copy.src_pitch = static_cast<size_t>(src_pitch);
      copy.dst_host = dst, copy.dst_device = to, copy.dst_pitch = static_cast<size_t>(dst_pitch);
      copy.width = static_cast<size_t>(width), copy.height = static_cast<size_t>(rows);
      check(api_.copy_rows(&copy, stream_), "cuMemcpy2DAsync");
    }
    if (!from_card || !to_card || managed_) wait();
  }

  void* allocate_host(int64_t bytes) override {
    enter();
    void* data = nullptr;
    check(api_.allocate_host(&data, static_cast<size_t>(bytes), 0), "cuMemHostAlloc");
    return data;
  }

  int64_t fetch(const void* src, void* dst, int64_t bytes) override {
    enter();
    const auto from = reinterpret_cast<driver::Pointer>(src);
    if (is_on_card(from)) {
      check(api_.copy_to_host(dst, from, static_cast<size_t>(bytes), stream_), "cuMemcpyDtoHAsync");
    } else {
      wait();
      std::memcpy(dst, src, static_cast<size_t>(bytes));
    }
    return record();
  }

  void arrive(int64_t fetched) override {
    enter();
    driver::Event event = nullptr;
    {
      const std::lock_guard lock(mutex_);
      event = events_[static_cast<size_t>(fetched % kEvents)];
    }
    check(api_.wait_for_event(event), "cuEventSynchronize");
  }

  void launch(KernelId id, int64_t blocks, int threads, const void* kernel, int64_t) override {
    enter();
    if (blocks > INT32_MAX)
      fail(ErrorCode::kUsage, "cuda: {}: expected fewer than 2^31 blocks, got {} (smaller micro-batches)",
           kernel_name(id), blocks);
    void* parameters[] = {const_cast<void*>(kernel)};
    check(api_.launch(functions_[static_cast<size_t>(id)], static_cast<unsigned>(blocks), 1, 1,
                      static_cast<unsigned>(threads), 1, 1, 0, stream_, parameters, nullptr),
          kernel_name(id));
    asked(kernel_name(id), {});
  }

  void asked(std::string_view what, std::span<const void* const>) override {
    if (wait_ || managed_) check(api_.wait(stream_), what);  // the host may read what it wrote
  }

  void* stream() override {
    enter();
    return stream_;
  }

  void wait() override { check(api_.wait(stream_), "cuStreamSynchronize"); }

 private:
  void load() {
    enter();
    check(api_.create_stream(&stream_, driver::kStreamNonBlocking), "cuStreamCreate");
    driver::Module module = nullptr;
    if (const driver::Result result = api_.load_module(&module, image()); result != 0)
      fail(ErrorCode::kEnvironment, "cuda:{}: {} (compute capability {}.{}): expected a card of {}, got {}", number_,
           card_.name, card_.major, card_.minor, kImageCards, driver_.why(result));
    for (size_t id = 0; id < functions_.size(); ++id) {
      const std::string name = fmt::format("troupe_{}", kernel_name(static_cast<KernelId>(id)));
      check(api_.function(&functions_[id], module, name.c_str()), name);
    }
  }
  void check(driver::Result result, std::string_view what) const { driver_.check(result, what); }
  // The context is a thread's own business.
  void enter() const {
    static thread_local const CardMachine* entered = nullptr;
    if (entered == this) return;
    check(api_.set_context(context_), "cuCtxSetCurrent");
    entered = this;
  }
  // The number of what was asked for so far; an event that is taken again is of later work.
  int64_t record() {
    const std::lock_guard lock(mutex_);
    driver::Event& event = events_[static_cast<size_t>(recorded_ % kEvents)];
    if (recorded_ < kEvents) check(api_.create_event(&event, driver::kEventWithoutTime), "cuEventCreate");
    check(api_.record_event(event, stream_), "cuEventRecord");
    return recorded_++;
  }

  // The host goes on at once: what it had is in one of two halves of `staged_`, which is used again when all of it is
  // on the card.
  void stage(const void* src, driver::Pointer to, size_t bytes) {
    const std::lock_guard lock(staging_);
    if (!staged_) staged_ = static_cast<char*>(allocate_host(kStagedBytes));
    if (taken_ + bytes > kStagedBytes / 2) {
      last_of_half_[half_] = record();
      half_ ^= 1, taken_ = 0;
      if (last_of_half_[half_] >= 0) arrive(last_of_half_[half_]);
    }
    char* const from = staged_ + half_ * (kStagedBytes / 2) + taken_;
    taken_ += (bytes + 63) / 64 * 64;
    std::memcpy(from, src, bytes);
    check(api_.copy_to_device(to, from, bytes, stream_), "cuMemcpyHtoDAsync");
  }

  bool is_on_card(driver::Pointer pointer) const {
    const std::lock_guard lock(mutex_);
    const auto after = ranges_.upper_bound(pointer);
    return after != ranges_.begin() && pointer < std::prev(after)->second;
  }

  const Driver& driver_;
  const driver::Api& api_;
  int number_;
  bool managed_;
  Card card_;
  driver::Device device_ = 0;
  driver::Context context_ = nullptr;
  driver::Stream stream_ = nullptr;
  std::array<driver::Function, size_t{kNumKernels}> functions_{};
  const bool wait_ = value_of(kWaitSwitch) == "1";
  mutable std::mutex mutex_;
  std::map<driver::Pointer, driver::Pointer> ranges_;  // what is allocated: begin, end
  std::array<driver::Event, size_t{kEvents}> events_{};
  int64_t recorded_ = 0;
  std::mutex staging_;
  char* staged_ = nullptr;
  size_t half_ = 0, taken_ = 0;
  std::array<int64_t, 2> last_of_half_ = {-1, -1};
};

std::unique_ptr<CardMachine> opened;  // until the process ends

}  // namespace

Survey survey() {
  const Driver& driver = the_driver();
  Survey found{.driver = driver.version > 0 ? version_text(driver.version) : "",
               .library = driver.library,
               .kernels = kImageCards,
               .cards = {},
               .problem = driver.problem,
               .no_card = driver.no_card};
  for (int number = 0; driver.problem.empty() && number < driver.num_cards; ++number) {
    driver::Device device = 0;
    driver.check(driver.api.device(&device, number), "cuDeviceGet");
    found.cards.push_back(card_of(driver, device));
  }
  if (found.problem.empty() && !image())
    found.problem = "this program was built without nvcc, so it has no kernels for it";
  return found;
}

void open_card(int number, CardMemory memory) {
  const Driver& driver = the_driver();
  if (!image() || !driver.problem.empty())
    fail(ErrorCode::kEnvironment,
         "cuda:{}: expected a GPU, got none: {} (--device cpu; `troupe doctor` says what is found)", number,
         image() ? driver.problem : "this program was built without nvcc, so it has no kernels for one");
  if (number < 0 || number >= driver.num_cards)
    fail(ErrorCode::kEnvironment, "cuda:{}: expected a GPU from 0 to {}, got {}", number, driver.num_cards - 1, number);
  opened = std::make_unique<CardMachine>(driver, number, memory);
  use_machine(*opened);
}

void close_card() {
  leave_machine();
  opened->close();
  opened.reset();
}

}  // namespace troupe::cuda
