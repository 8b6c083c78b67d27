// Ranks that the first one leads. It does what is of one process (files, decisions) and calls all to what they do
// together; the others wait in between, for as long as that takes.
#pragma once

#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include "dist/communicator.h"

namespace troupe {

template <class Order>
class Team {
 public:
  static_assert(std::is_trivially_copyable_v<Order>);
  // What all do by an order. Of what it throws SharedErrors alone are of all ranks; a rank that throws another cannot go
  // on.
  using Task = std::function<void(const Order& order)>;

  // `ranks` may be nullptr: one process, which does what it calls for.
  Team(Communicator* ranks, Task task) : ranks_(ranks), task_(std::move(task)) {}

  // Runs `work` on the first rank; the others do what it calls for until it ends. What it throws there, all throw.
  void lead(const std::function<void()>& work) {
    if (!ranks_ || ranks_->size() == 1) return work();
    std::exception_ptr failure;
    if (!ranks_->is_first()) {
      follow();
    } else {
      try {
        work();
      } catch (...) {
        if (is_lost_) throw;
        failure = std::current_exception();
      }
      hear({.is_over = true, .order = {}});
    }
    ranks_->together([&] { if (failure) std::rethrow_exception(failure); }, kPlace);
  }

  // All ranks run the task; on the first rank, within lead().
  void call(const Order& order) {
    if (ranks_) hear({.is_over = false, .order = order});
    try {
      task_(order);
    } catch (const SharedError&) {
      throw;
    } catch (...) {
      is_lost_ = ranks_ != nullptr;  // the others are within the task
      throw;
    }
  }

 private:
  static constexpr const char* kPlace = "what the first rank calls for";
  struct Word {
    bool is_over;
    Order order;
  };

  Word hear(const Word& own) {
    ranks_->meet();
    return ranks_->all_of(own, kPlace).front();
  }
  void follow() {
    while (true) {
      const Word word = hear({.is_over = false, .order = {}});
      if (word.is_over) return;
      try {
        task_(word.order);
      } catch (const SharedError&) {  // the first rank knows what follows from it
      }
    }
  }

  Communicator* ranks_;
  Task task_;
  bool is_lost_ = false;
};

}  // namespace troupe
