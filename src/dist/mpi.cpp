// Of the headers only C: the C++ interface is gone from MPI, but not from Debian's.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "dist/mpi.h"
#include "dist/watchdog.h"

namespace troupe {
namespace {

// So many bytes as one element, so that counts stay small.
class RowType {
 public:
  explicit RowType(int64_t bytes) {
    MPI_Type_contiguous(static_cast<int>(bytes), MPI_BYTE, &type_);
    MPI_Type_commit(&type_);
  }
  ~RowType() { MPI_Type_free(&type_); }
  RowType(const RowType&) = delete;
  RowType& operator=(const RowType&) = delete;
  MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_{};
};

struct Counts {
  std::vector<int> counts, starts;
};

class World : public Communicator {
 public:
  World(int rank, int size, const WorldOptions& options)
      : Communicator(rank, size), watchdog_(rank, size, options.watchdog_s) {}
  ~World() override {
    const Watchdog::Waiting waiting(watchdog_, "the end");
    MPI_Finalize();
  }
  std::string name() const override { return mpi_version(); }
  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  Counts counts_of(std::span<const int64_t> rows, const char* place) const {
    Counts all;
    int64_t start = 0;
    for (const int64_t count : rows) {
      if (start + count > std::numeric_limits<int>::max())
        fail(ErrorCode::kUsage, "{}: expected at most {} rows in one message, got more (train.micro_sequences makes "
             "micro-batches smaller)", place, std::numeric_limits<int>::max());
      all.counts.push_back(static_cast<int>(count));
      all.starts.push_back(static_cast<int>(start));
      start += count;
    }
    return all;
  }

  void do_exchange(const void* sent, std::span<const int64_t> rows_sent, void* received,
                   std::span<const int64_t> rows_received, int64_t row_bytes, const char* place) override {
    const Counts out = counts_of(rows_sent, place), in = counts_of(rows_received, place);
    const RowType row(row_bytes);
    const Watchdog::Waiting waiting(watchdog_, place);
    MPI_Alltoallv(sent, out.counts.data(), out.starts.data(), row.get(), received, in.counts.data(), in.starts.data(),
                  row.get(), MPI_COMM_WORLD);
  }

  void do_gather(const void* own, void* all, std::span<const int64_t> rows, int64_t row_bytes,
                 const char* place) override {
    const Counts in = counts_of(rows, place);
    const RowType row(row_bytes);
    const Watchdog::Waiting waiting(watchdog_, place);
    MPI_Allgatherv(own, in.counts[static_cast<size_t>(rank())], row.get(), all, in.counts.data(), in.starts.data(),
                   row.get(), MPI_COMM_WORLD);
  }

  Watchdog watchdog_;
};

}  // namespace

std::unique_ptr<Communicator> start_world(const WorldOptions& options) {
  const int launched = launched_ranks();
  if (launched == 1) return alone();
  int level = 0, rank = 0, size = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size != launched) {
    MPI_Finalize();
    fail(ErrorCode::kEnvironment,
         "MPI: expected the {} processes that were started together, got {} that know of each other (start them with the "
         "mpirun of {}, or srun --mpi=pmix)",
         launched, size, mpi_version());
  }
  return std::make_unique<World>(rank, size, options);
}

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string all(text, static_cast<size_t>(length));
  return all.substr(0, std::min(all.find(','), all.find('\n')));
}

bool has_mpi() { return true; }

}  // namespace troupe
