/* The commit protocol: log, seal, heads, counters, commit word, repair, rebuild. See README.md.

   Every transaction increments both keys, so that in a right world the value of each key as of transaction n is n.
   A record's position is its index here; position 0 names nothing. One step is one store to shared memory, and a
   process may be killed before any of them. Memory is sequentially consistent: orderings are tests/loom's subject. */

#ifndef KILLS
#define KILLS 2
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#define CELLS (3 * WRITERS + 1) /* a transaction is two records and a footer */
#ifdef MARKER_ZERO
#define MARKER 0
#else
#define MARKER 255
#endif

/* How far a rebuild reads. */
#if defined(DROP_SEAL)
#define WITHIN(at) (at + 3 < CELLS && (at < known || known == 0))
#elif defined(SCAN_PAST_SEAL)
#define WITHIN(at) (at + 3 < CELLS)
#else
#define WITHIN(at) (at + 3 < CELLS && at < known)
#endif

/* The log. `whole` is false while somebody is writing the cell. */
byte key[CELLS], version[CELLS], value[CELLS], previous[CELLS], author[CELLS];
bit whole[CELLS];
byte footer_sequence[CELLS], footer_start[CELLS], footer_author[CELLS];
bit footer_whole[CELLS];

/* The control page. */
byte head[2];
byte sealed, commit;
byte slot_sequence[2], slot_count[2];
byte owner;
bit owner_died;

/* What only the checks know: who sealed each transaction, and the newest that returned to its caller. */
byte sealed_by[6];
byte returned, kills, ended;

#define STEP if :: kills < KILLS -> kills++; goto killed :: true fi

inline publish_heads(at) {
  i = at;
  do :: i < at + 2 -> atomic { STEP; head[key[i]] = i; i++ }
     :: else -> break
  od
}

inline publish_commit(number) {
#ifdef ONE_SLOT
  atomic { STEP; slot_sequence[0] = MARKER }
  atomic { STEP; slot_count[0] = number }
  atomic { STEP; slot_sequence[0] = number }
#else
  atomic { STEP; slot_sequence[number % 2] = MARKER }
  atomic { STEP; slot_count[number % 2] = number }
  atomic { STEP; slot_sequence[number % 2] = number }
#endif
  atomic { STEP; commit = number }
}

/* What whoever takes the mutex does first. */
inline repair() {
#ifdef CLEAN_SKIPS_REDO
  if :: owner_died ->
#endif
#ifdef FORGET_SEALED
     if :: sealed > 0 && footer_sequence[sealed] > commit -> atomic { STEP; sealed = footer_start[sealed] - 1 } :: else fi;
#else
#ifndef NO_REDO
     if :: sealed > 0 && footer_sequence[sealed] > commit ->
          assert(footer_sequence[sealed] == commit + 1);
          publish_heads(footer_start[sealed]);
          publish_commit(footer_sequence[sealed])
        :: else
     fi;
#endif
#endif
#ifdef CLEAN_SKIPS_REDO
     :: else fi;
#endif
  atomic { STEP; owner_died = 0 }
}

inline seal() {
  atomic { STEP; sealed = tail + 3; sealed_by[number] = me }
}

proctype Writer(byte me) {
  byte i, tail, number;
  atomic { owner == 0 -> owner = me; i = 0 }
  repair();
  tail = sealed;
  number = (tail > 0 -> footer_sequence[tail] + 1 : 1);
  if :: tail + 3 >= CELLS -> goto unlock :: else fi;
#ifdef SEAL_FIRST
  atomic { STEP; footer_start[tail + 3] = tail + 1; footer_sequence[tail + 3] = number; seal() }
#endif
  i = 0;
  do :: i < 2 ->
        atomic { STEP; whole[tail + 1 + i] = 0; footer_whole[tail + 3] = 0; key[tail + 1 + i] = i; version[tail + 1 + i] = number }
        atomic { STEP; previous[tail + 1 + i] = head[i];
                 value[tail + 1 + i] = (head[i] > 0 -> value[head[i]] : 0) + 1;
                 author[tail + 1 + i] = me; whole[tail + 1 + i] = 1; i++ }
     :: else -> break
  od;
  atomic { STEP; footer_start[tail + 3] = tail + 1; footer_sequence[tail + 3] = number; footer_author[tail + 3] = me; footer_whole[tail + 3] = 1 }
#ifdef HEADS_UNSEALED
  publish_heads(tail + 1);
#endif
#ifndef SEAL_FIRST
  seal();
#endif
  /* A bug, or bytes that cannot be read: the writer gives up here and unlocks as if nothing were the matter. */
  if :: goto unlock :: true fi;
#ifdef COMMIT_FIRST
  publish_commit(number);
  publish_heads(tail + 1);
#else
  publish_heads(tail + 1);
  publish_commit(number);
#endif
  atomic { returned = (number > returned -> number : returned) }
unlock:
  atomic { STEP; owner = 0; goto end }
killed:
  atomic { if :: owner == me -> owner = 0; owner_died = 1 :: else fi }
end:
  ended++
}

/* The newest record of key k that commit word c covers. */
inline walk(k) {
  do :: atomic { h == 0 -> break }
     :: atomic { h > 0 -> assert(whole[h] && key[h] == k); v = version[h] }
#ifdef NO_WALK
        break
#else
        if :: v > c -> atomic { assert(whole[h]); h = previous[h] } :: else -> break fi
#endif
  od;
  atomic {
    if :: h == 0 -> assert(c == 0)
       :: else -> assert(whole[h] && value[h] == c && version[h] == c && author[h] == sealed_by[c])
    fi
  }
}

/* Reads counters and both keys at one instant, ROUNDS times; never waits for anybody. */
proctype Reader() {
  byte c, h, v, before, count, last, round;
  do :: round < ROUNDS ->
again:  c = commit;
#ifdef ONE_SLOT
        before = slot_sequence[0]; count = slot_count[0];
        if :: before != c || slot_sequence[0] != c -> assert(commit != c); goto again :: else fi;
#else
        before = slot_sequence[c % 2]; count = slot_count[c % 2];
        if :: before != c || slot_sequence[c % 2] != c ->
             /* Only a newer commit may send the reader round again: otherwise it waits for somebody. */
             assert(commit != c); goto again
           :: else
        fi;
#endif
        assert(count == c);
#ifdef HEAD_FIRST
        h = head[0]; c = commit;
#else
        h = head[0];
#endif
        walk(0); h = head[1]; walk(1);
        assert(c >= last);
        atomic { last = c; round++; c = 0; h = 0; v = 0; before = 0; count = 0 }
     :: else -> break
  od;
  ended++
}

/* When all others ended: the next process repairs what is there, or is alone and rebuilds it from the bytes. */
proctype Last() {
  byte i, at, known;
  ended == WRITERS + 1;
  if :: true ->
        kills = KILLS;
        repair()
     :: true ->
rebuild:
        at = 0; i = 0; known = sealed;
#ifdef DROP_SEAL
        atomic { STEP; sealed = 0 }
#endif
        atomic { STEP; head[0] = 0; head[1] = 0 }
        do :: atomic { WITHIN(at) && footer_whole[at + 3] && whole[at + 1] && whole[at + 2] && footer_sequence[at + 3] == at / 3 + 1 && author[at + 1] == footer_author[at + 3] && author[at + 2] == footer_author[at + 3] -> at = at + 3 }
              publish_heads(at - 2)
           :: else -> break
        od;
        assert(at >= known);
        atomic { STEP; sealed = at }
        commit = 0; i = at / 3;
        if :: i > 0 -> slot_count[i % 2] = i; slot_sequence[i % 2] = i; commit = i :: else fi
  fi;
  kills = KILLS;
  atomic {
    assert(commit >= returned);
    assert(commit == 0 || sealed_by[commit] != 0);
    assert(sealed == commit * 3);
    i = 0;
    do :: i < 2 && commit > 0 ->
          assert(whole[head[i]] && key[head[i]] == i && version[head[i]] == commit && value[head[i]] == commit);
          assert(author[head[i]] == sealed_by[commit]); i++
       :: else -> break
    od
  }
  goto end;
killed:
  /* Alone again: the next opener starts over. */
  goto rebuild;
end: skip
}

init { atomic { run Writer(1); run Writer(2);
#if WRITERS > 2
  run Writer(3);
#endif
  run Reader(); run Last() } }
