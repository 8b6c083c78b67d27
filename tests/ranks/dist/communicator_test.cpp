// What ranks say to each other, on as many as the program was started with.
#include "dist/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/rng.h"
#include "dist/mpi.h"
#include "dist/row_exchange.h"
#include "dist/team.h"
#include "ranks.h"

namespace troupe {
namespace {

using test::world;

TEST(Communicator, IsAllThatWereStartedTogether) {
  EXPECT_EQ(world().size(), launched_ranks());
  std::vector<int> expected;
  for (int r = 0; r < world().size(); ++r) expected.push_back(r);
  EXPECT_EQ(world().all_of(world().rank(), "test"), expected);
}

TEST(Communicator, SumsInTheOrderOfRanks) {
  // In another order 1 is lost beside 1e16.
  const std::vector<double> values = {1.0, 1e16, -1e16, 1.0};
  double expected = 0.0;
  for (int r = 0; r < world().size(); ++r) expected = r == 0 ? values[0] : expected + values[static_cast<size_t>(r)];
  double value = values[static_cast<size_t>(world().rank())];
  world().sum(std::span(&value, 1), "test");
  EXPECT_EQ(value, expected);
  int64_t counts[2] = {world().rank() + 1, (int64_t{1} << 60) / world().size()};
  world().sum(std::span<int64_t>(counts), "test");
  EXPECT_EQ(counts[0], world().size() * (world().size() + 1) / 2);
  EXPECT_EQ(counts[1], (int64_t{1} << 60) / world().size() * world().size());
}

TEST(Communicator, AnErrorOfOneRankIsThatOfAll) {
  for (int bad = 0; bad < world().size(); ++bad) {
    std::string said;
    try {
      world().together([&] { if (world().rank() >= bad) fail(ErrorCode::kData, "rank {} has no data", world().rank()); }, "test");
    } catch (const Error& error) {
      said = error.what();
      EXPECT_EQ(error.code(), ErrorCode::kData);
    }
    EXPECT_EQ(said, fmt::format("rank {} has no data", bad));
  }
  world().together([] {}, "test");
}

TEST(Communicator, TheFirstRankWorksAndItsErrorIsThatOfAll) {
  int worked = 0;
  world().on_first([&] { worked = 1; }, "test");
  EXPECT_EQ(worked, world().is_first() ? 1 : 0);
  for (int i = 0; i < 3; ++i)
    EXPECT_THROW(world().on_first([] { fail(ErrorCode::kData, "nothing"); }, "test"), Error);
  ASSERT_FALSE(world().any(false, "test"));
}

// What the first rank calls for all do; an error of all comes back to it, and it goes on; its own ends all.
TEST(Team, FollowsTheFirstRank) {
  std::vector<int> done;
  Team<int> team(&world(), [&](int order) {
    done.push_back(order);
    world().together([&] { if (order < 0) fail(ErrorCode::kNonFinite, "order {}", order); }, "test");
  });
  int caught = 0;
  const auto work = [&](bool ends) {
    team.call(1);
    try {
      team.call(-2);
    } catch (const Error& error) {
      caught += error.code() == ErrorCode::kNonFinite;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    team.call(3);
    if (!ends) fail(ErrorCode::kData, "the first rank says so");
  };
  team.lead([&] { work(true); });
  EXPECT_EQ(done, (std::vector<int>{1, -2, 3}));
  EXPECT_EQ(caught, world().is_first() ? 1 : 0);
  try {
    team.lead([&] { work(false); });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the first rank says so");
  }
  EXPECT_EQ(done.size(), 6u);
}

// What was complete when it was asked for counts as overlapped: nothing of it was waited for.
TEST(Communicator, CountsWhatWentMeanwhile) {
  const int N = world().size();
  std::vector<int> sent(static_cast<size_t>(N), 1), received(sent.size());
  RankRows all{.counts = std::vector<int64_t>(sent.size(), 1), .starts = {}};
  for (int r = 0; r < N; ++r) all.starts.push_back(r);
  for (int attempt = 0; attempt < 1000; ++attempt) {  // another rank may be late
    const int64_t before = world().bytes_overlapped(), sent_before = world().bytes_sent();
    auto pending = world().begin_exchange(sent.data(), all, received.data(), all, sizeof(int), "test");
    for (int i = 0; i < 100; ++i) {
      world().progress();
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    world().finish(std::move(pending));
    EXPECT_EQ(world().bytes_sent() - sent_before, 4 * (N - 1));
    if (!world().any(world().bytes_overlapped() - before < 4 * (N - 1), "test")) return;
  }
  FAIL() << "nothing went meanwhile";
}

TEST(Communicator, TextsOfAnyLength) {
  const std::vector<std::string> all = world().texts(std::string(static_cast<size_t>(world().rank()) * 3, 'x'), "test");
  for (int r = 0; r < world().size(); ++r) EXPECT_EQ(all[static_cast<size_t>(r)].size(), static_cast<size_t>(r) * 3);
}

TEST(Shares, AreConsecutiveEvenAndWholeUnits) {
  for (const int64_t unit : {1, 3})
    for (int64_t count = 0; count < 20; ++count)
      for (int ranks = 1; ranks < 7; ++ranks) {
        int64_t end = 0;
        for (int r = 0; r < ranks; ++r) {
          const Share share = share_of(count, r, ranks, unit);
          EXPECT_EQ(share.begin, end);
          EXPECT_TRUE(share.begin % unit == 0 || share.begin == count);
          EXPECT_LE(share.size(), unit * ((count + unit - 1) / unit / ranks + 1));
          end = share.end;
        }
        EXPECT_EQ(end, count);
      }
}

TEST(Shares, FewerExpertsThanRanksHaveCopies) {
  for (int ranks : {1, 2, 3, 4, 7})
    for (int64_t experts = 0; experts <= 9; ++experts) {
      SCOPED_TRACE(fmt::format("{} experts of {} ranks", experts, ranks));
      for (int r = 0; r < ranks; ++r) {
        const Share held = experts_of(experts, r, ranks);
        EXPECT_EQ(held.size() > 0, experts > 0);
        for (int64_t e = 0; e < experts; ++e) {
          const Share holders = holders_of(experts, e, ranks);
          EXPECT_EQ(r >= holders.begin && r < holders.end, e >= held.begin && e < held.end);
          EXPECT_LE(holders.size(), (ranks + experts - 1) / experts);
        }
      }
    }
}

TEST(Communicator, PartsAreRanksOfTheirOwn) {
  const int N = world().size(), own = world().rank(), color = own % 2;
  const auto part = world().split(color);
  EXPECT_EQ(part->size(), (N + 1 - color) / 2);
  EXPECT_EQ(part->rank(), own / 2);
  const int64_t before = world().bytes_sent();
  const std::vector<int> all = part->all_of(own, "test");
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], color + 2 * static_cast<int>(i));
  EXPECT_EQ(world().bytes_sent() - before, static_cast<int64_t>(sizeof(int)) * (part->size() - 1));
  ASSERT_FALSE(world().any(false, "test"));
}

// Ranks that are early and late in turn: calls of different kinds and sizes, one after the other, never cross.
TEST(Communicator, CallsDoNotCrossWhateverTheDelays) {
  const int N = world().size(), own = world().rank();
  Rng delays(static_cast<uint64_t>(own) + 1), sizes(7);
  for (int call = 0; call < 200; ++call) {
    if (delays.below(4) == 0) std::this_thread::sleep_for(std::chrono::microseconds(delays.below(2000)));
    const auto rows = static_cast<int64_t>(sizes.below(3000));
    std::vector<int64_t> counts(static_cast<size_t>(N), rows);
    if (call % 3 == 0) {
      std::vector<int> sent(static_cast<size_t>(rows * N), call * N + own), received(sent.size());
      world().exchange(sent.data(), counts, received.data(), counts, sizeof(int), "test");
      for (int r = 0; r < N; ++r)
        for (int64_t i = 0; i < rows; ++i) ASSERT_EQ(received[static_cast<size_t>(r * rows + i)], call * N + r) << call;
    } else if (call % 3 == 1) {
      std::vector<int> sent(static_cast<size_t>(rows), call * N + own), received(static_cast<size_t>(rows * N));
      world().gather(sent.data(), received.data(), counts, sizeof(int), "test");
      for (int r = 0; r < N; ++r)
        for (int64_t i = 0; i < rows; ++i) ASSERT_EQ(received[static_cast<size_t>(r * rows + i)], call * N + r) << call;
    } else if (call % 5 == 0) {  // begun, with other calls between
      std::vector<int> first(static_cast<size_t>(rows * N), call * N + own), second(first), a(first.size()),
          b(first.size());
      RankRows all{.counts = counts, .starts = {}};
      for (int r = 0; r < N; ++r) all.starts.push_back(r * rows);
      auto one = world().begin_exchange(first.data(), all, a.data(), all, sizeof(int), "test");
      auto two = world().begin_exchange(second.data(), all, b.data(), all, sizeof(int), "test");
      ASSERT_FALSE(world().any(false, "test"));
      world().progress();
      world().finish(std::move(two)), world().finish(std::move(one));
      for (int r = 0; r < N; ++r)
        for (int64_t i = 0; i < rows; ++i) ASSERT_EQ(a[static_cast<size_t>(r * rows + i)], call * N + r) << call;
      ASSERT_EQ(a, b);
    } else {
      ASSERT_EQ(world().any(own == call % (N + 1), "test"), call % (N + 1) < N) << call;
    }
  }
}

// Tokens of the whole batch, each with one row, by an expert that a rule names: what expert e receives is (expert,
// token), whatever rank a token is on; and every row finds back.
void expect_sorted_by_expert_and_token(int64_t experts, int64_t tokens, int64_t (*expert_of)(int64_t token, int64_t experts)) {
  const int N = world().size();
  const Share own = share_of(tokens, world().rank(), N), held = experts_of(experts, world().rank(), N);
  std::vector<int64_t> offsets = {0}, rows;
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t t = own.begin; t < own.end; ++t)
      if (expert_of(t, experts) == e) rows.insert(rows.end(), {e, t});
    offsets.push_back(static_cast<int64_t>(rows.size()) / 2);
  }
  std::vector<int64_t> expected, expected_offsets = {0};
  for (int64_t e = held.begin; e < held.end; ++e) {
    const Share holders = experts < N ? holders_of(experts, e, N) : Share{world().rank(), world().rank() + 1};
    for (int r = 0; r < N; ++r) {  // of every rank's rows of an expert each holder has a part
      std::vector<int64_t> there;
      const Share of_rank = share_of(tokens, r, N);
      for (int64_t t = of_rank.begin; t < of_rank.end; ++t)
        if (expert_of(t, experts) == e) there.push_back(t);
      const Share part = share_of(static_cast<int64_t>(there.size()), world().rank() - static_cast<int>(holders.begin),
                                  static_cast<int>(holders.size()));
      for (int64_t i = part.begin; i < part.end; ++i) expected.insert(expected.end(), {e, there[static_cast<size_t>(i)]});
    }
    expected_offsets.push_back(static_cast<int64_t>(expected.size()) / 2);
  }
  RowExchange exchange;
  for (const int64_t chunks : {1, 2, 3, 9}) {  // memory is used again; some chunks have no experts, or no rows
    SCOPED_TRACE(chunks);
    exchange.plan(world(), offsets, chunks);
    EXPECT_EQ(exchange.offsets(), expected_offsets);
    std::vector<int64_t> received(static_cast<size_t>(2 * exchange.num_received()), -1), made(received.size() / 2, -1),
        back(rows.size() / 2, -1);
    int64_t done = 0;
    exchange.there_and_back({rows.data(), received.data(), 16, "test"}, {made.data(), back.data(), 8, "test"},
                            [&](Share part, std::span<const int64_t> of_chunk) {
                              EXPECT_EQ(part.begin, done);
                              EXPECT_EQ(of_chunk.front(), 0);
                              EXPECT_EQ(of_chunk.back(), part.size());
                              for (int64_t e = held.begin; e < held.end; ++e)
                                for (int64_t i = of_chunk[static_cast<size_t>(e - held.begin)];
                                     i < of_chunk[static_cast<size_t>(e - held.begin + 1)]; ++i) {
                                  const auto at = static_cast<size_t>(part.begin + i);
                                  EXPECT_EQ(received[2 * at], e);
                                  made[at] = 1000 * e + received[2 * at + 1];
                                }
                              done = part.end;
                            });
    EXPECT_EQ(done, exchange.num_received());
    EXPECT_EQ(received, expected);
    for (size_t i = 0; i < back.size(); ++i) EXPECT_EQ(back[i], 1000 * rows[2 * i] + rows[2 * i + 1]);
  }
}

TEST(RowExchange, SortsByExpertAndTokenOfTheWholeBatch) {
  for (const int64_t experts : {1, 2, 5, 8})
    for (const int64_t tokens : {0, 1, 3, 17}) {
      SCOPED_TRACE(fmt::format("{} experts, {} tokens", experts, tokens));
      expect_sorted_by_expert_and_token(experts, tokens, [](int64_t t, int64_t e) { return (t * 7 + t / 3) % e; });
      expect_sorted_by_expert_and_token(experts, tokens, [](int64_t, int64_t) { return int64_t{0}; });
      expect_sorted_by_expert_and_token(experts, tokens, [](int64_t, int64_t e) { return e - 1; });
    }
}

}  // namespace
}  // namespace troupe
