// Every rank runs every test, in the same order. A rank that fails alone leaves the others waiting: the watchdog ends them.
#include <gtest/gtest.h>

#include "dist/mpi.h"
#include "ranks.h"

namespace {

std::unique_ptr<troupe::Communicator> all;

}  // namespace

troupe::Communicator& troupe::test::world() { return *all; }

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  all = troupe::start_world({.watchdog_s = 60.0});
  if (all->rank() > 0) {  // says only what fails
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    class Failures : public testing::EmptyTestEventListener {
      void OnTestPartResult(const testing::TestPartResult& result) override {
        if (result.failed())
          std::fprintf(stderr, "rank %d: %s:%d: %s\n", troupe::test::world().rank(), result.file_name(),
                       result.line_number(), result.message());
      }
    };
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new Failures);
  }
  const int result = RUN_ALL_TESTS();
  const bool failed = all->any(result != 0, "the result of the tests");
  all.reset();
  return failed ? 1 : 0;
}
