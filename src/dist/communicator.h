// The ranks that train one model together, and what they say to each other. Every rank makes the same calls in the same
// order on one thread (there is one queue, so two calls cannot cross); `place` names a call in messages. What is a sum of
// floats is made in the order of the ranks, never by an operation whose order is free: the same bits on every run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace troupe {

// An error that every rank of a group throws at the same place: one of them says it, and all end in order.
class SharedError : public Error {
 public:
  using Error::Error;
};

// Items [begin, end) of a rank.
struct Share {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// Consecutive shares of `count` items that differ by at most one; in whole units of `unit` items, but for the last.
Share share_of(int64_t count, int rank, int ranks, int64_t unit = 1);

// Experts of a layer that a rank holds: consecutive shares. Where there are fewer experts than ranks one each, of which
// consecutive ranks, its holders, have copies.
Share experts_of(int64_t experts, int rank, int ranks);
Share holders_of(int64_t experts, int64_t expert, int ranks);

// Rows to or from every rank: how many, and at which row of the memory they begin.
struct RankRows {
  std::vector<int64_t> counts, starts;
};

// How much is worth a message of its own; less is not cut further.
struct MessageSizes {
  int64_t chunk_bytes = 512 << 10;    // rows of a layer's experts, while those of other experts are computed
  int64_t bucket_elements = 1 << 20;  // gradients of dense parameters, and of what is moved to all
};

class Communicator {
 public:
  // An exchange that was begun.
  class Pending {
   public:
    Pending() = default;
    virtual ~Pending() = default;
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;

   private:
    friend class Communicator;
    virtual bool is_done() = 0;
    virtual void wait() = 0;
    int64_t bytes_ = 0;
  };

  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  virtual std::string name() const = 0;

  // Rows to every rank and from every rank, both back to back in the order of ranks; counts are in rows.
  void exchange(const void* sent, std::span<const int64_t> rows_sent, void* received,
                std::span<const int64_t> rows_received, int64_t row_bytes, const char* place);
  // The same, begun: this rank computes meanwhile, and lets it go on by progress() from time to time. Both memories are
  // MPI's until finish(), which waits. All ranks begin the same exchanges in the same order.
  std::unique_ptr<Pending> begin_exchange(const void* sent, const RankRows& rows_sent, void* received,
                                          const RankRows& rows_received, int64_t row_bytes, const char* place);
  void progress();
  void finish(std::unique_ptr<Pending> pending);
  // The rows of all ranks, in their order, on every rank; `rows` counts them by rank. `own` is not within `all`.
  void gather(const void* own, void* all, std::span<const int64_t> rows, int64_t row_bytes, const char* place);

  // One value of every rank, by rank.
  template <class T>
  std::vector<T> all_of(const T& own, const char* place) {
    std::vector<T> all(static_cast<size_t>(size_));
    gather(&own, all.data(), std::vector<int64_t>(static_cast<size_t>(size_), 1), sizeof(T), place);
    return all;
  }
  // Element-wise sums over ranks in their order, on every rank the same bits.
  void sum(std::span<double> values, const char* place) { sum_in_order(values, place); }
  void sum(std::span<int64_t> values, const char* place) { sum_in_order(values, place); }
  bool any(bool own, const char* place);
  // Texts of all ranks.
  std::vector<std::string> texts(const std::string& own, const char* place);

  // Runs `work`, which says nothing to other ranks. If it throws an Error on any rank, all throw that of the lowest.
  void together(const std::function<void()>& work, const char* place);

  // Waits until all ranks are here, for as long as that takes: no watchdog looks, and processors are left to others.
  void meet();
  // Runs `work`, which says nothing to other ranks, on the first one, for as long as it takes. If it throws an Error
  // there, all throw it.
  void on_first(const std::function<void()>& work, const char* place);
  bool is_first() const { return rank_ == 0; }

  // Ranks of the same color, in their order, as ranks of their own, which must not outlive these; what they send and wait
  // for counts here, too. All ranks make this call.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  // Ends all ranks at once; for a rank that alone cannot go on.
  [[noreturn]] virtual void abort(int exit_code) = 0;

  const MessageSizes& message_sizes() const { return message_sizes_; }
  void set_message_sizes(const MessageSizes& sizes) { message_sizes_ = sizes; }  // on all ranks alike

  // Of exchanges and gather(), which all others are made of: bytes to other ranks, and the time inside, in which this
  // rank also waits for others. Of what was begun, the bytes that had arrived and left when finish() asked.
  int64_t bytes_sent() const { return meter_->bytes_sent; }
  int64_t bytes_overlapped() const { return meter_->bytes_overlapped; }
  double seconds() const { return meter_->seconds; }

 protected:
  struct Meter {
    int64_t bytes_sent = 0, bytes_overlapped = 0;
    double seconds = 0.0;
  };
  Communicator(int rank, int size, std::shared_ptr<Meter> meter = std::make_shared<Meter>())
      : rank_(rank), size_(size), meter_(std::move(meter)) {}
  const std::shared_ptr<Meter>& meter() const { return meter_; }
  virtual void do_exchange(const void* sent, std::span<const int64_t> rows_sent, void* received,
                           std::span<const int64_t> rows_received, int64_t row_bytes, const char* place) = 0;
  virtual std::unique_ptr<Pending> do_begin_exchange(const void* sent, const RankRows& rows_sent, void* received,
                                                     const RankRows& rows_received, int64_t row_bytes,
                                                     const char* place) = 0;
  virtual void do_progress() = 0;
  virtual void do_meet() = 0;
  virtual void do_gather(const void* own, void* all, std::span<const int64_t> rows, int64_t row_bytes,
                         const char* place) = 0;

 private:
  struct Failure {
    int code = 0;  // 0: none
    std::string what;
  };
  static Failure failure_of(const std::function<void()>& work);
  void throw_first(const Failure& own, const char* place);
  template <class T>
  void sum_in_order(std::span<T> values, const char* place);

  int rank_, size_;
  MessageSizes message_sizes_;
  std::shared_ptr<Meter> meter_;
};

// together() of `ranks`, or `work` alone where there are none.
inline void run_together(Communicator* ranks, const std::function<void()>& work, const char* place) {
  ranks ? ranks->together(work, place) : work();
}

inline void run_on_first(Communicator* ranks, const std::function<void()>& work, const char* place) {
  ranks ? ranks->on_first(work, place) : work();
}

// Whether it is one process, or the first of several.
inline bool leads(const Communicator* ranks) { return !ranks || ranks->is_first(); }

// One rank, alone.
std::unique_ptr<Communicator> alone();

}  // namespace troupe
