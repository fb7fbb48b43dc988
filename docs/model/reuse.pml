/* Segments that are taken back into use beside readers that hold no lock, and beside snapshots. See README.md.

   A segment has room for one record, so a position is a segment. A record's bytes are two words, its version and its
   value, which is the version again: a reader that sees them differ has read a torn record. A transaction writes a new
   version of a key, or moves the newest one as it is (cleaning). */

#ifndef KILLS
#define KILLS 1
#endif
#ifndef OPERATIONS
#define OPERATIONS 4
#endif
#define SEGMENTS 4
#define NONE 15

/* The log's bytes. */
byte version[SEGMENTS], value[SEGMENTS], key[SEGMENTS], previous[SEGMENTS];
/* The transaction that a record stands in: of a moved one not its version. */
byte number[SEGMENTS];
/* The slots. */
byte order[SEGMENTS], live[SEGMENTS], retired[SEGMENTS];
byte orders, next = NONE;
/* The index. */
byte head[2] = NONE;
byte commit, sealed = NONE, current = NONE;
/* Snapshots older than this are taken too late. */
byte announced;
byte pin = NONE;

/* For the checks: newest[n * 2 + k] is the version of key k as of transaction n. */
byte newest[(OPERATIONS + 2) * 2];
byte kills;

#define STEP if :: kills < KILLS -> kills++; goto killed :: true fi

#ifdef RETIRED_BY_VERSION
#define RETIRED(at) version[at]
#else
#define RETIRED(at) number[at]
#endif

/* Publishes the record at `at`; repeated after a kill. */
inline publish(at) {
  atomic { STEP; live[at]++ }
  old = head[key[at]];
  atomic { STEP; head[key[at]] = at }
  if :: old != NONE && old != at ->
        atomic { STEP; live[old]--; if :: live[old] == 0 -> retired[old] = RETIRED(at) :: else fi }
     :: else fi
}

/* Chooses the next segment: frees one of which nothing is needed. */
inline choose() {
#ifndef NO_ANNOUNCE
  atomic { STEP; announced = (announced < commit -> commit : announced) }
#endif
#ifdef NO_PIN
  floor = commit;
#else
  atomic { floor = (pin < commit -> pin : commit) }
#endif
  s = 0;
  do :: s < SEGMENTS && s != current && (order[s] == 0 || (live[s] == 0 && retired[s] <= floor)) -> break
     :: s < SEGMENTS && !(s != current && (order[s] == 0 || (live[s] == 0 && retired[s] <= floor))) -> s++
     :: s == SEGMENTS -> break
  od;
  if :: s < SEGMENTS ->
#ifndef ORDER_LATE
        atomic { STEP; order[s] = 0 };
#endif
        atomic { STEP; next = s }
     :: else -> atomic { STEP; next = NONE }
  fi;
  s = 0; floor = 0
}

/* Writers, one after the other: the second goes on when the first was killed. */
active proctype writer() {
  byte s, old, k, at, n, v, p, floor;
  n = 0;
again:
  do :: commit < OPERATIONS ->
        /* Take: the chosen one, or any that is free. */
        s = next;
        if :: s == NONE || s == current || (order[s] != 0
#ifdef ORDER_LATE
              && !(live[s] == 0)
#endif
              ) ->
              s = 0;
              do :: s < SEGMENTS && order[s] != 0 -> s++
                 :: else -> break
              od
           :: else fi;
        if :: s == SEGMENTS -> break :: else fi;
        at = s; s = 0;
        if :: k = 0 :: k = 1 fi;
        n = commit + 1; v = n; p = head[k];
        if :: head[k] != NONE ->
#ifndef MOVED_IS_NEW
              v = version[head[k]];
#endif
              p = previous[head[k]]
           :: true
        fi;
#ifndef ORDER_LATE
        atomic { STEP; live[at] = 0; retired[at] = 0; orders++; order[at] = orders }
#endif
        atomic { STEP; version[at] = v; number[at] = n };
        atomic { STEP; key[at] = k; previous[at] = p };
        atomic { STEP; value[at] = v };
#ifdef ORDER_LATE
        atomic { STEP; live[at] = 0; retired[at] = 0; orders++; order[at] = orders };
#endif
        atomic { STEP; sealed = at; current = at };
        publish(at);
        newest[n * 2 + k] = v; newest[n * 2 + 1 - k] = newest[commit * 2 + 1 - k];
        v = 0; p = 0;
        atomic { STEP; commit = n };
        choose()
     :: else -> break
  od;
  goto end;
killed:
  /* The next owner: redo what is sealed, forget what is not. */
  s = 0; old = 0; floor = 0; v = 0; p = 0;
  if :: sealed != NONE && number[sealed] == commit + 1 ->
        at = sealed; k = key[at]; n = commit + 1;
        publish(at);
        newest[n * 2 + k] = version[at]; newest[n * 2 + 1 - k] = newest[commit * 2 + 1 - k];
        atomic { STEP; commit = n }
     :: else -> 
        s = 0;
        do :: s < SEGMENTS -> 
              if :: order[s] > 0 && (sealed == NONE || order[s] > order[sealed]) -> atomic { STEP; order[s] = 0 } :: else fi;
              s++
           :: else -> break
        od
  fi;
  s = 0;
  goto again;
end: skip
}

#ifndef SNAPSHOT
/* A point read of key 0. */
active proctype reader() {
  byte c, p, o, v, x, before;
  before = newest[commit * 2];
retry:
  c = commit;
  p = head[0];
  if :: p == NONE -> assert(before == 0); goto end :: else fi;
  o = order[p];
#ifndef NO_NAMED_CHECK
  if :: head[0] != p -> goto retry :: else fi;
#endif
  v = version[p];
  if :: v > c ->
        if :: commit != c -> goto retry :: else fi;
        x = previous[p];
        if :: order[p] != o -> goto retry :: else fi;
        if :: x == NONE -> assert(before == 0); goto end :: else fi;
        p = x; x = 0;
        o = order[p];
#ifndef NO_COMMIT_CHECK
        if :: commit != c -> goto retry :: else fi;
#endif
        v = version[p]
     :: else fi;
  x = value[p];
#ifndef NO_ORDER_CHECK
  if :: order[p] != o -> goto retry :: else fi;
#endif
  assert(v == x);
  assert(key[p] == 0 || order[p] != o);
  assert(v >= before && v <= newest[commit * 2] || v == commit + 1);
end: skip
}
#else
/* A snapshot, which then reads key 0 in place. */
active proctype snapshot() {
  byte c, p, o, v, x;
retry:
  c = commit;
  pin = c;
#ifndef NO_PIN_RECHECK
  if :: announced > c -> pin = NONE; goto retry :: else fi;
#endif
look:
  p = head[0];
  if :: p == NONE -> assert(newest[c * 2] == 0); goto end :: else fi;
  o = order[p];
  if :: head[0] != p -> goto look :: else fi;
  v = version[p]; x = previous[p];
  if :: order[p] != o -> goto look :: else fi;
  do :: v > c && x == NONE -> assert(newest[c * 2] == 0); goto end
     :: v > c && x != NONE -> p = x; v = version[p]; x = previous[p]
     :: else -> break
  od;
  assert(v == newest[c * 2]);
  assert(value[p] == v);
end: pin = NONE
}
#endif
