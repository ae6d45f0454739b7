/* The physical limit: the job with its hot state in locals, which a compiler keeps in registers.
 * In: a .bin file, the mode (0 books only, 1 fair value on every event), repeats.
 * Out: one JSON line. Build: cc -O3 -march=native -o reference reference.c -lm
 * Never -ffast-math: the sum of fair values must be libm's to the last bit. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct __attribute__((packed)) {
  int64_t ts;
  uint8_t kind, side;
  uint16_t token;
  int32_t px;
  int64_t size;
} Record;
enum { OPEN = 1, CLEAR, DELTA, TRADE, SPOT, RESOLVE };
enum { SLOTS = 128 };
static const int64_t WINDOW_NS = 300000000000, SHARES_MICRO = 10000000;

typedef struct {
  int64_t cash_micro, position[2], buys;
  double fair_sum;
} Result;

static int64_t levels[4 * SLOTS]; /* token, side, cents */

__attribute__((noinline)) static Result replay(const Record *records, int64_t n, int mode) {
  Result result = {0};
  double variance = 0.25 / (365.0 * 86400.0), last = 0, strike = 0, distance = 0, fair_sum = 0;
  int64_t last_ts = 0, close = 0, bid[2] = {0, 0}, ask[2] = {100, 100};
  int bought = 0;
  memset(levels, 0, sizeof levels);
  for (int64_t i = 0; i < n; i++) {
    const Record *r = &records[i];
    int64_t ts = r->ts;
    if (r->kind == DELTA) {
      unsigned token = r->token & 1, side = r->side;
      int64_t px = r->px, size = r->size, *book = levels + (token * 2 + side) * SLOTS;
      book[px] = size;
      if (!side) {
        int64_t best = bid[token];
        if (size > 0) {
          if (px > best) best = px;
        } else if (px == best) {
          do best--; while (best > 0 && !book[best]);
        }
        bid[token] = best;
      } else {
        int64_t best = ask[token];
        if (size > 0) {
          if (px < best) best = px;
        } else if (px == best) {
          do best++; while (best < 100 && !book[best]);
        }
        ask[token] = best;
      }
    } else if (r->kind == SPOT) {
      double spot = r->px * 0.01, seconds = (double)(ts - last_ts) * 1e-9;
      if (last > 0 && seconds > 1e-6) {
        double move = log(spot / last);
        variance += 0.002 * (move * move / seconds - variance);
      }
      last = spot;
      last_ts = ts;
      if (strike > 0) distance = log(spot / strike);
    } else if (r->kind == CLEAR) {
      unsigned token = r->token & 1;
      memset(levels + token * 2 * SLOTS, 0, 2 * SLOTS * sizeof *levels);
      bid[token] = 0;
      ask[token] = 100;
    } else if (r->kind == OPEN) {
      strike = r->px * 0.01;
      distance = log(last / strike);
      close = ts / WINDOW_NS * WINDOW_NS + WINDOW_NS;
      bought = 0;
      continue;
    } else if (r->kind == RESOLVE) {
      result.cash_micro += (result.position[0] * r->px + result.position[1] * (100 - r->px)) / 100;
      result.position[0] = result.position[1] = 0;
      strike = 0;
      continue;
    }
    if (mode == 0 || strike <= 0) continue;
    double left = (double)(close - ts) * 1e-9;
    if (left < 1e-3) left = 1e-3;
    double fair = 0.5 * (1.0 + erf(distance / sqrt(variance * left) * 0.7071067811865476));
    fair_sum += fair;
    if (bought || left <= 5.0 || left >= 290.0) continue;
    for (int token = 0; token < 2 && !bought; token++) {
      int64_t cents = ask[token];
      if (cents >= 100) continue;
      double price = cents * 0.01, fee = 0.07 * price * (1.0 - price);
      if ((token ? 1.0 - fair : fair) - price - fee <= 0.05) continue;
      int64_t size = levels[token * 2 * SLOTS + SLOTS + cents];
      if (size > SHARES_MICRO) size = SHARES_MICRO;
      result.cash_micro -= size * cents / 100 + (size * 7 * cents * (100 - cents) + 500000) / 1000000;
      result.position[token] += size;
      result.buys++;
      bought = 1;
    }
  }
  result.fair_sum = fair_sum;
  return result;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int count, char **arguments) {
  if (count != 4) return fprintf(stderr, "usage: reference FILE MODE REPEATS\n"), 2;
  FILE *file = fopen(arguments[1], "rb");
  if (!file) return perror(arguments[1]), 1;
  fseek(file, 0, SEEK_END);
  int64_t n = ftell(file) / (int64_t)sizeof(Record);
  rewind(file);
  Record *records = malloc(n * sizeof *records);
  if (fread(records, sizeof *records, n, file) != (size_t)n) return perror(arguments[1]), 1;
  int mode = atoi(arguments[2]), repeats = atoi(arguments[3]);
  double *seconds = malloc(repeats * sizeof *seconds);
  Result result = {0};
  for (int i = 0; i < repeats; i++) {
    double start = now();
    result = replay(records, n, mode);
    seconds[i] = now() - start;
  }
  qsort(seconds, repeats, sizeof *seconds, ascending);
  printf("{\"engine\": \"C loop\", \"mode\": \"%d\", \"events\": %ld, \"rate\": %.0f, "
         "\"buys\": %ld, \"pnl\": %.6f, \"fair_sum\": %.6f}\n",
         mode, n, n / seconds[repeats / 2], result.buys, result.cash_micro * 1e-6, result.fair_sum);
}
