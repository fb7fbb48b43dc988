/* Compaction of the order beside a snapshot, a loop over what is there now, and other changes; a kill at any step. See README.md.

   A transaction writes one record, so a record's position is the number of its transaction. Keys 0 and 1 are there at the
   beginning, with ordinals 0 and 2 (a hole stands between); key 2 may be added. A word is a record, or FORWARD + an ordinal. */

#ifndef KILLS
#define KILLS 1
#endif
#ifndef CHANGES
#define CHANGES 1
#endif
#define KEYS 3
#define RECORDS (3 + 2 + CHANGES + 1)
#define ORDINALS (7 + CHANGES)
#define FORWARD 100
#define NONE 99

byte key[RECORDS], ordinal[RECORDS], previous[RECORDS];
bit dead[RECORDS], renumbered[RECORDS];
byte word[ORDINALS];
byte head[KEYS];
byte commit = 2, sealed = 2;
/* Counted with each transaction. */
byte next[RECORDS], length[RECORDS];
/* The compaction. */
byte fill, cut, start, first;
byte since = NONE;
bit finished;
byte pin = NONE;
bit looping;

/* For the checks: list[n * KEYS + i] is the i-th key in order as of transaction n. */
byte list[RECORDS * KEYS];
byte changes, kills;
bit removed[KEYS];

#ifdef WIPE_PINNED
#define WIPEABLE (!looping)
#else
#ifdef WIPE_LOOPED
#define WIPEABLE ((since == NONE || pin >= since))
#else
#define WIPEABLE ((since == NONE || pin >= since) && !looping)
#endif
#endif

#define STEP if :: kills < KILLS -> kills++; goto killed :: true fi

/* Publishes the sealed record; repeated after a kill. */
inline publish() {
  r = sealed;
  if :: renumbered[r] ->
        old = head[key[r]];
        o = ordinal[old];
#ifndef FILL_LATE
        if :: fill == 0 ->
              atomic { STEP; start = next[commit] };
#ifndef NO_SENTINEL
              atomic { STEP; word[start] = FORWARD + ordinal[r] + 1 };
#endif
              atomic { STEP; cut = start };
              atomic { STEP; fill = ordinal[r] }
           :: fill > 0 && ordinal[r] < fill -> atomic { STEP; fill = ordinal[r] }
           :: else fi;
        if :: o < cut -> atomic { STEP; cut = o } :: else fi;
#endif
#ifdef TABLE_FIRST
        atomic { STEP; head[key[r]] = r };
#endif
        atomic { STEP; word[ordinal[r]] = r };
#ifdef TABLE_FIRST
        if :: old != r ->
#else
        if :: o != ordinal[r] ->
#endif
#ifdef NO_FORWARD
              atomic { STEP; word[o] = 0 }
#else
              atomic { STEP; word[o] = FORWARD + ordinal[r] }
#endif
           :: else fi;
        atomic { STEP; head[key[r]] = r }
     :: else ->
        atomic { STEP; head[key[r]] = r };
        atomic { STEP; word[ordinal[r]] = r }
  fi;
  atomic { STEP; commit = r };
  r = 0; o = 0; old = 0
}

/* What a sealed record leaves, for the checks. */
inline seal(n) {
  list[n * KEYS] = list[commit * KEYS]; list[n * KEYS + 1] = list[commit * KEYS + 1]; list[n * KEYS + 2] = list[commit * KEYS + 2];
  if :: dead[n] ->
        removed[key[n]] = 1;
        if :: list[n * KEYS] == key[n] -> list[n * KEYS] = list[n * KEYS + 1]; list[n * KEYS + 1] = list[n * KEYS + 2]
           :: list[n * KEYS] != key[n] && list[n * KEYS + 1] == key[n] -> list[n * KEYS + 1] = list[n * KEYS + 2]
           :: else fi;
        list[n * KEYS + 2] = NONE;
        length[n] = length[commit] - 1; next[n] = next[commit]
     :: !dead[n] && previous[n] == 0 ->
        list[n * KEYS + length[commit]] = key[n];
        length[n] = length[commit] + 1; next[n] = ordinal[n] + 1
     :: else ->
        length[n] = length[commit]; next[n] = (next[commit] > ordinal[n] + 1 -> next[commit] : ordinal[n] + 1)
  fi;
  sealed = n
}

/* The holders of the mutex, one after the other. */
proctype Writers() {
  byte r, o, old, at, k, n;
again:
  if :: sealed > commit -> publish() :: else fi;
  do :: changes < CHANGES && commit + 1 < RECORDS ->
        /* Somebody sets, removes or adds a key. */
        n = commit + 1;
        if :: k = 0 :: k = 1 :: k = 2 fi;
        atomic {
          STEP; changes++;
          key[n] = k; previous[n] = head[k]; dead[n] = 0; renumbered[n] = 0;
          if :: head[k] == 0 -> ordinal[n] = next[commit]
             :: else -> ordinal[n] = ordinal[head[k]]; if :: dead[n] = 1 :: true fi
          fi;
          if :: head[k] > 0 && dead[head[k]] -> goto skipped :: else fi;
          seal(n)
        }
        publish();
skipped: n = 0; k = 0
     :: !finished ->
        /* A step of the compaction: the next key, from the last to the first. */
#ifdef RISING
        at = (fill == 0 -> 0 : cut);
        do :: at < next[commit] && (fill == 0 || at < start) && (word[at] == 0 || word[at] >= FORWARD || dead[word[at]]) -> at++ :: else -> break od;
        if :: at == next[commit] || (fill > 0 && at >= start) -> at = NONE :: else fi;
#else
        at = (fill == 0 -> next[commit] : cut);
        do :: at > 0 && (word[at - 1] == 0 || word[at - 1] >= FORWARD || dead[word[at - 1]]) -> at-- :: else -> break od;
        at = (at == 0 -> NONE : at - 1);
#endif
        if :: at == NONE ->
              /* All have their place; what leads on may be wiped once no older snapshot and no loop is there. */
              atomic { STEP; since = commit; first = start + 1; finished = 1 }
           :: at != NONE && commit + 1 < RECORDS ->
              n = commit + 1;
              atomic {
                STEP;
                key[n] = key[word[at]]; previous[n] = word[at]; dead[n] = 0; renumbered[n] = 1;
#ifdef RISING
                ordinal[n] = (fill == 0 -> next[commit] + 1 : fill + 1);
#else
                ordinal[n] = (fill == 0 -> next[commit] + length[commit] : fill - 1);
#endif
                seal(n)
              }
              publish();
#ifdef FILL_LATE
              atomic { STEP; if :: fill == 0 -> start = next[n] - length[n] - 1; word[start] = FORWARD + next[n] :: else fi };
              atomic { STEP; fill = ordinal[n]; cut = at };
#endif
#ifdef RISING
              if :: fill == 0 || 1 -> fill = ordinal[n]; cut = at + 1; start = (start == 0 -> next[n - 1] : start) fi;
#endif
              n = 0
           :: else -> finished = 1
        fi;
        at = 0
     :: finished && start > 0 && WIPEABLE ->
           atomic { STEP; word[0] = 0 };
           atomic { STEP; word[2] = 0 };
           atomic { STEP; word[start] = 0; start = 0 }
     :: finished && changes == CHANGES && sealed == commit -> break
  od;
  goto end;
killed:
  atomic { r = 0; o = 0; old = 0; at = 0; k = 0; n = 0; goto again }
end: skip
}

/* Follows words that lead on: the newest record of the key that had the ordinal. */
inline newest_of(o) {
  w = word[o];
  do :: w >= FORWARD && w - FORWARD < ORDINALS -> w = word[w - FORWARD]
     :: else -> break
  od;
  if :: w >= FORWARD -> w = 0 :: else fi
}

/* All keys of one instant, in order. */
proctype Snapshot() {
  byte c, i, p, w;
  atomic { c = commit; pin = c };
  p = (c >= since -> first : 0);
  do :: p < next[c] ->
        newest_of(p);
        do :: w > c -> w = previous[w] :: else -> break od;
        if :: w > 0 && !dead[w] && ordinal[w] == p ->
              assert(i < length[c] && list[c * KEYS + i] == key[w]);
              i++
           :: else fi;
        p++
     :: else -> break
  od;
  assert(i == length[c]);
  pin = NONE
}

/* The keys that are there when their turn comes, each once. */
proctype Loop() {
  byte c, p, w, o;
  bit seen[KEYS];
  atomic { looping = 1; p = first };
  do :: p < next[commit] ->
        o = p; p++;
look:   c = commit;
        newest_of(o);
        do :: w > c ->
              if :: commit != c -> goto look :: else fi;
              w = previous[w]
           :: else -> break
        od;
        if :: w > 0 && !dead[w] && ordinal[w] == o ->
              assert(!seen[key[w]]);
              seen[key[w]] = 1
#ifndef NO_JUMP
           :: !(w > 0 && !dead[w] && ordinal[w] == o) && word[o] >= FORWARD -> p = word[o] - FORWARD
#endif
           :: else fi;
        w = 0
     :: else -> break
  od;
  assert(seen[0] || removed[0]);
  assert(seen[1] || removed[1]);
  looping = 0
}

init {
  atomic {
    key[1] = 0; ordinal[1] = 0; word[0] = 1; head[0] = 1;
    key[2] = 1; ordinal[2] = 2; word[2] = 2; head[1] = 2;
    next[2] = 3; length[2] = 2;
    list[2 * KEYS] = 0; list[2 * KEYS + 1] = 1; list[2 * KEYS + 2] = NONE;
    run Writers();
#ifdef LOOP
    run Loop()
#else
    run Snapshot()
#endif
  }
}
