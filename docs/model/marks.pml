/* Marks of removed keys: kept while older segments, snapshots or shards may need them, then dropped. See README.md.

   A segment has room for two records, those with the numbers 2n - 1 and 2n. One key. A transaction sets it, removes it, or moves a record or drops a
   mark (cleaning). At the end, and after a kill, everything may be rebuilt from the segments of the log alone. */

#ifndef OPERATIONS
#define OPERATIONS 8
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define PLACES 6
#define NONE 15
#define SET 1
#define MARK 2
#define SEGMENT(at) ((order[at] + 1) / 2)
/* The log goes on in it. */
#define IS_CURRENT(at) (SEGMENT(at) == (orders + 1) / 2)

/* The log: kind, version and what it replaced; the record's number, 0 where the place is free. */
byte kind[PLACES], version[PLACES], previous[PLACES], order[PLACES];
bool live[PLACES];
/* The transaction after which it was needed only by older snapshots. */
byte retired[PLACES];
byte orders, commit;
/* What table and order name. */
byte table = NONE, place = NONE;
/* The key as it should be: the version that set it, 0 without. */
byte truth;
/* A snapshot: its instant, and what it should find. */
byte pin = NONE, pinned;
/* The shard: the version that it holds of the key, and up to which all is saved. */
byte shard, saved;
byte kills, turns;

inline is_oldest(at) {
  i = 0; oldest = true;
  do :: i < PLACES -> if :: order[i] > 0 && SEGMENT(i) < SEGMENT(at) -> oldest = false :: else fi; i++
     :: else -> break
  od;
  i = 0
}

inline take(at) {
  at = 0;
  do :: at < PLACES && order[at] != 0 -> at++ :: else -> break od
}

/* Takes segments out of the log of which nothing is needed. */
inline free_all() {
  i = 0;
  do :: i < PLACES ->
        oldest = order[i] > 0 && !IS_CURRENT(i); k = 0;
        do :: k < PLACES ->
              if :: order[k] > 0 && SEGMENT(k) == SEGMENT(i) && (live[k] || (pin != NONE && retired[k] > pin)) -> oldest = false :: else fi;
              k++
           :: else -> break
        od;
        k = 0;
        /* Unless it holds something of another key. */
        if :: oldest = false :: true fi;
        do :: k < PLACES && oldest ->
              if :: k != i && order[k] > 0 && SEGMENT(k) == SEGMENT(i) -> order[k] = 0; kind[k] = 0 :: else fi;
              k++
           :: else -> break
        od;
        if :: oldest -> order[i] = 0; kind[i] = 0 :: else fi;
        i++
     :: else -> break
  od;
  i = 0; k = 0; oldest = false
}

inline write_record(k) {
  take(at);
  if :: at < PLACES ->
        commit++; orders++;
        kind[at] = k; version[at] = commit; previous[at] = table; order[at] = orders; live[at] = true;
        if :: place != NONE -> live[place] = false; retired[place] = commit :: else fi;
        table = at;
        /* A key that was removed and is set again has another place; its mark stays at the old one. */
        place = at;
        truth = (k == SET -> commit : 0)
     :: else
  fi;
  at = 0
}

active proctype store() {
  byte at, i, k, v, found, from;
  bool oldest, oldest_now;
  do :: turns < OPERATIONS ->
        turns++;
        if :: truth == 0 && table == NONE -> atomic { write_record(SET) }
           :: truth != 0 -> atomic { write_record(SET) }
           :: truth != 0 -> atomic { write_record(MARK) }
           :: truth == 0 && table != NONE ->
              /* Set again: the mark is replaced in the table, and stays live in the order. Modelled as if in one place. */
              atomic { write_record(SET) }
           :: pin == NONE ->
              atomic {
                pin = commit; pinned = truth
              }
           :: pin != NONE -> pin = NONE
           :: true -> commit++; orders++ /* A record of another key. */
           :: place != NONE && !IS_CURRENT(place) ->
              /* Moved as it is: a mark too. */
              atomic {
                take(at);
                if :: at < PLACES ->
                      commit++; orders++;
                      kind[at] = kind[place]; version[at] = version[place]; previous[at] = previous[place]; order[at] = orders; live[at] = true;
                      live[place] = false; retired[place] = commit; table = at; place = at
                   :: else
                fi;
                at = 0
              }
           :: place != NONE && kind[place] == MARK && !IS_CURRENT(place) ->
              is_oldest(place);
              at = place; oldest_now = oldest; oldest = false;
              if ::
#ifndef DROP_ANYWHERE
                    oldest_now &&
#endif
#ifndef DROP_PINNED
                    (pin == NONE || pin >= version[at]) &&
#endif
#ifndef DROP_UNSAVED
                    (shard == 0 || version[at] <= saved) &&
#endif
                    true ->
#ifdef ORDER_FIRST
                    place = NONE;
                    if :: kills < KILLS -> kills++; goto killed :: true fi;
                    table = NONE;
#else
                    table = NONE;
                    if :: kills < KILLS -> kills++; goto killed :: true fi;
                    place = NONE;
#endif
                    live[at] = false; retired[at] = commit
                 :: else
              fi;
              at = 0; oldest_now = false
           :: saved < commit ->
              /* A checkpoint: what the order names that is newer than the last one. */
              atomic {
                if :: place != NONE && version[place] > saved -> shard = (kind[place] == SET -> version[place] : 0) :: else fi;
                saved = commit;
                assert(shard == truth)
              }
           :: true -> atomic { free_all() }
        fi;
killed:
        at = 0; i = 0;
#ifdef ORDER_FIRST
        /* A segment is in use while the order names its record: what was left counted is put right. */
        i = 0;
        do :: i < PLACES -> if :: live[i] && place != i -> live[i] = false :: else fi; i++ :: else -> break od;
        i = 0;
#endif
        /* The key as it is found. */
        atomic {
          found = 0;
          if :: table != NONE -> assert(order[table] > 0); found = (kind[table] == SET -> version[table] : 0) :: else fi;
          assert(found == truth);
          /* The snapshot's way: back from the newest. */
          if :: pin != NONE ->
                from = table; i = 0;
                do :: from != NONE && version[from] > pin && i < PLACES -> from = previous[from]; i++
                   :: else -> break
                od;
                found = 0;
                if :: from != NONE && kind[from] == SET -> found = version[from] :: else fi;
                assert(found == pinned)
             :: else
          fi;
          from = 0; i = 0;
          /* As a rebuild finds it: the newest version in the log, of two copies of one the later. */
          v = 0; found = 0;
          do :: i < PLACES ->
                if :: order[i] > 0 && version[i] > v -> v = version[i]; found = (kind[i] == SET -> v : 0) :: else fi;
                i++
             :: else -> break
          od;
          assert(found == truth);
          v = 0; found = 0; i = 0
        }
     :: else -> break
  od
}
