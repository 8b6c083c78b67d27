#include "dist/communicator.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "base/clock.h"

namespace troupe {
namespace {

class Alone : public Communicator {
 public:
  Alone() : Communicator(0, 1) {}
  std::string name() const override { return "one process"; }
  std::unique_ptr<Communicator> split(int) override { return std::make_unique<Alone>(); }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }

 private:
  void do_exchange(const void* sent, std::span<const int64_t> rows_sent, void* received, std::span<const int64_t>,
                   int64_t row_bytes, const char*) override {
    copy(sent, received, rows_sent[0] * row_bytes);
  }
  std::unique_ptr<Pending> do_begin_exchange(const void* sent, const RankRows& rows_sent, void* received,
                                             const RankRows& rows_received, int64_t row_bytes, const char*) override {
    class Done : public Pending {
      bool is_done() override { return true; }
      void wait() override {}
    };
    copy(static_cast<const std::byte*>(sent) + rows_sent.starts[0] * row_bytes,
         static_cast<std::byte*>(received) + rows_received.starts[0] * row_bytes, rows_sent.counts[0] * row_bytes);
    return std::make_unique<Done>();
  }
  void do_progress() override {}
  void do_meet() override {}
  void do_gather(const void* own, void* all, std::span<const int64_t> rows, int64_t row_bytes, const char*) override {
    copy(own, all, rows[0] * row_bytes);
  }
  static void copy(const void* from, void* to, int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
};

}  // namespace

Share share_of(int64_t count, int rank, int ranks, int64_t unit) {
  const int64_t units = (count + unit - 1) / unit;
  const auto at = [&](int r) { return std::min(count, units * r / ranks * unit); };
  return {at(rank), at(rank + 1)};
}

Share experts_of(int64_t experts, int rank, int ranks) {
  if (experts >= ranks || experts == 0) return share_of(experts, rank, ranks);
  const int64_t own = experts * rank / ranks;
  return {own, own + 1};
}

Share holders_of(int64_t experts, int64_t expert, int ranks) {
  Share holders;
  while (experts_of(experts, static_cast<int>(holders.begin), ranks).end <= expert) ++holders.begin;
  holders.end = holders.begin;
  while (holders.end < ranks && experts_of(experts, static_cast<int>(holders.end), ranks).begin <= expert) ++holders.end;
  return holders;
}

void Communicator::exchange(const void* sent, std::span<const int64_t> rows_sent, void* received,
                            std::span<const int64_t> rows_received, int64_t row_bytes, const char* place) {
  const int64_t all = std::accumulate(rows_sent.begin(), rows_sent.end(), int64_t{0});
  meter_->bytes_sent += (all - rows_sent[static_cast<size_t>(rank_)]) * row_bytes;
  const Clock::time_point start = Clock::now();
  do_exchange(sent, rows_sent, received, rows_received, row_bytes, place);
  meter_->seconds += seconds_since(start);
}

std::unique_ptr<Communicator::Pending> Communicator::begin_exchange(const void* sent, const RankRows& rows_sent,
                                                                    void* received, const RankRows& rows_received,
                                                                    int64_t row_bytes, const char* place) {
  const Clock::time_point start = Clock::now();
  std::unique_ptr<Pending> pending = do_begin_exchange(sent, rows_sent, received, rows_received, row_bytes, place);
  const int64_t all = std::accumulate(rows_sent.counts.begin(), rows_sent.counts.end(), int64_t{0});
  pending->bytes_ = (all - rows_sent.counts[static_cast<size_t>(rank_)]) * row_bytes;
  meter_->bytes_sent += pending->bytes_;
  meter_->seconds += seconds_since(start);
  return pending;
}

void Communicator::progress() {
  const Clock::time_point start = Clock::now();
  do_progress();
  meter_->seconds += seconds_since(start);
}

void Communicator::finish(std::unique_ptr<Pending> pending) {
  const Clock::time_point start = Clock::now();
  if (pending->is_done())
    meter_->bytes_overlapped += pending->bytes_;
  else
    pending->wait();
  meter_->seconds += seconds_since(start);
}

void Communicator::gather(const void* own, void* all, std::span<const int64_t> rows, int64_t row_bytes,
                          const char* place) {
  meter_->bytes_sent += rows[static_cast<size_t>(rank_)] * row_bytes * (size_ - 1);
  const Clock::time_point start = Clock::now();
  do_gather(own, all, rows, row_bytes, place);
  meter_->seconds += seconds_since(start);
}

template <class T>
void Communicator::sum_in_order(std::span<T> values, const char* place) {
  if (size_ == 1) return;
  const size_t count = values.size();
  std::vector<T> all(count * static_cast<size_t>(size_));
  const std::vector<int64_t> rows(static_cast<size_t>(size_), static_cast<int64_t>(count));
  gather(values.data(), all.data(), rows, sizeof(T), place);
  for (size_t i = 0; i < count; ++i) {
    values[i] = all[i];
    for (int r = 1; r < size_; ++r) values[i] += all[static_cast<size_t>(r) * count + i];
  }
}

template void Communicator::sum_in_order(std::span<double>, const char*);
template void Communicator::sum_in_order(std::span<int64_t>, const char*);

bool Communicator::any(bool own, const char* place) {
  const std::vector<char> all = all_of<char>(own ? 1 : 0, place);
  return std::any_of(all.begin(), all.end(), [](char one) { return one != 0; });
}

std::vector<std::string> Communicator::texts(const std::string& own, const char* place) {
  const std::vector<int64_t> sizes = all_of<int64_t>(static_cast<int64_t>(own.size()), place);
  std::string all(static_cast<size_t>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0})), '\0');
  gather(own.data(), all.data(), sizes, 1, place);
  std::vector<std::string> texts;
  size_t begin = 0;
  for (const int64_t size : sizes) {
    texts.push_back(all.substr(begin, static_cast<size_t>(size)));
    begin += static_cast<size_t>(size);
  }
  return texts;
}

Communicator::Failure Communicator::failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return {static_cast<int>(error.code()), error.what()};
  } catch (const std::exception& error) {
    return {static_cast<int>(ErrorCode::kEnvironment), error.what()};
  }
  return {};
}

void Communicator::throw_first(const Failure& own, const char* place) {
  const std::vector<int> codes = all_of<int>(own.code, place);
  const auto first = std::find_if(codes.begin(), codes.end(), [](int one) { return one != 0; });
  if (first == codes.end()) return;
  const auto rank = static_cast<size_t>(first - codes.begin());
  throw SharedError(static_cast<ErrorCode>(*first), texts(own.what, place)[rank]);
}

void Communicator::together(const std::function<void()>& work, const char* place) {
  if (size_ == 1) return work();
  throw_first(failure_of(work), place);
}

void Communicator::meet() {
  const Clock::time_point start = Clock::now();
  do_meet();
  meter_->seconds += seconds_since(start);
}

void Communicator::on_first(const std::function<void()>& work, const char* place) {
  if (size_ == 1) return work();
  const Failure failure = is_first() ? failure_of(work) : Failure{};
  meet();
  throw_first(failure, place);
}

std::unique_ptr<Communicator> alone() { return std::make_unique<Alone>(); }

}  // namespace troupe
