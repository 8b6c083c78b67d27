// Of the headers only C: the C++ interface is gone from MPI, but not from Debian's.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include "dist/mpi.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

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

void require_int(int64_t rows, const char* place) {
  if (rows > std::numeric_limits<int>::max())
    fail(ErrorCode::kUsage,
         "{}: expected at most {} rows in one message, got more (train.micro_sequences makes "
         "micro-batches smaller)",
         place, std::numeric_limits<int>::max());
}

constexpr const char* kStart = "the start";
constexpr double kStartSeconds = 10.0;  // beyond what the watchdog allows, while programs are loaded

// Whether all ranks lie on one machine.
bool shares_machine(int ranks) {
  MPI_Comm machine;
  int here = 0;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
  MPI_Comm_size(machine, &here);
  MPI_Comm_free(&machine);
  return here == ranks;
}

class World : public Communicator {
 public:
  World(int rank, int size, const WorldOptions& options)
      : Communicator(rank, size), watchdog_(std::make_shared<Watchdog>(rank, size, options.watchdog_s)) {
    const Watchdog::Waiting waiting(*watchdog_, kStart);
    // Within a machine rows travel by the processors that would compute meanwhile: cutting them costs, and hides
    // nothing.
    if (shares_machine(size)) set_message_sizes({.chunk_bytes = std::numeric_limits<int64_t>::max()});
  }
  ~World() override {
    const Watchdog::Waiting waiting(*watchdog_, "the end");
    is_part() ? MPI_Comm_free(&ranks_) : MPI_Finalize();
  }
  std::string name() const override { return mpi_version(); }
  std::unique_ptr<Communicator> split(int color) override {
    const Watchdog::Waiting waiting(*watchdog_, "a group of ranks");
    MPI_Comm part;
    MPI_Comm_split(ranks_, color, rank(), &part);
    return std::unique_ptr<Communicator>(new World(part, *this));
  }
  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
  }

 private:
  World(MPI_Comm part, const World& all)
      : Communicator(rank_in(part), size_of(part), all.meter()), ranks_(part), watchdog_(all.watchdog_) {
    set_message_sizes(all.message_sizes());
  }
  static int rank_in(MPI_Comm part) {
    int rank = 0;
    MPI_Comm_rank(part, &rank);
    return rank;
  }
  static int size_of(MPI_Comm part) {
    int size = 0;
    MPI_Comm_size(part, &size);
    return size;
  }
  bool is_part() const { return ranks_ != MPI_COMM_WORLD; }

  static Counts counts_of(std::span<const int64_t> rows, const char* place) {
    RankRows all{.counts = {rows.begin(), rows.end()}, .starts = std::vector<int64_t>(rows.size())};
    std::exclusive_scan(rows.begin(), rows.end(), all.starts.begin(), int64_t{0});
    return counts_of(all, place);
  }
  static Counts counts_of(const RankRows& rows, const char* place) {
    Counts all;
    for (size_t r = 0; r < rows.counts.size(); ++r) {
      require_int(rows.starts[r] + rows.counts[r], place);
      all.counts.push_back(static_cast<int>(rows.counts[r]));
      all.starts.push_back(static_cast<int>(rows.starts[r]));
    }
    return all;
  }

  // MPI reads counts and type until it is done. Nothing of Open MPI's runs beside the program: messages go on inside
  // calls.
  struct Request : Pending {
    Request(World& world, Counts sent, Counts received, int64_t row_bytes, const char* where)
        : all(world), out(std::move(sent)), in(std::move(received)), row(row_bytes), place(where) {
      all.requests_.push_back(this);
    }
    ~Request() override { std::erase(all.requests_, this); }
    bool is_done() override {
      int done = 0;
      MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      return done != 0;
    }
    void wait() override {
      const Watchdog::Waiting waiting(*all.watchdog_, place);
      MPI_Wait(&request, MPI_STATUS_IGNORE);
    }

    World& all;
    const Counts out, in;
    const RowType row;
    const char* const place;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  std::unique_ptr<Pending> do_begin_exchange(const void* sent, const RankRows& rows_sent, void* received,
                                             const RankRows& rows_received, int64_t row_bytes,
                                             const char* place) override {
    auto begun = std::make_unique<Request>(*this, counts_of(rows_sent, place), counts_of(rows_received, place),
                                           row_bytes, place);
    MPI_Ialltoallv(sent, begun->out.counts.data(), begun->out.starts.data(), begun->row.get(), received,
                   begun->in.counts.data(), begun->in.starts.data(), begun->row.get(), ranks_, &begun->request);
    return begun;
  }
  void do_progress() override {
    for (Request* const request : requests_) request->is_done();
  }

  void do_meet() override {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibarrier(ranks_, &request);
    for (int done = 0; MPI_Test(&request, &done, MPI_STATUS_IGNORE), !done;)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  void do_exchange(const void* sent, std::span<const int64_t> rows_sent, void* received,
                   std::span<const int64_t> rows_received, int64_t row_bytes, const char* place) override {
    const Counts out = counts_of(rows_sent, place), in = counts_of(rows_received, place);
    const RowType row(row_bytes);
    const Watchdog::Waiting waiting(*watchdog_, place);
    MPI_Alltoallv(sent, out.counts.data(), out.starts.data(), row.get(), received, in.counts.data(), in.starts.data(),
                  row.get(), ranks_);
  }

  void do_gather(const void* own, void* all, std::span<const int64_t> rows, int64_t row_bytes,
                 const char* place) override {
    const Counts in = counts_of(rows, place);
    const RowType row(row_bytes);
    const Watchdog::Waiting waiting(*watchdog_, place);
    MPI_Allgatherv(own, in.counts[static_cast<size_t>(rank())], row.get(), all, in.counts.data(), in.starts.data(),
                   row.get(), ranks_);
  }

  MPI_Comm ranks_ = MPI_COMM_WORLD;
  std::shared_ptr<Watchdog> watchdog_;
  std::vector<Request*> requests_;  // begun
};

}  // namespace

std::unique_ptr<Communicator> start_world(const WorldOptions& options) {
  const int launched = launched_ranks();
  if (launched == 1) return alone();
  int level = 0, rank = 0, size = 0;
  {
    Watchdog watchdog(launched_rank(), launched, options.watchdog_s > 0.0 ? options.watchdog_s + kStartSeconds : 0.0);
    const Watchdog::Waiting waiting(watchdog, kStart);
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
  }
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
