/* Growth of the hash table beside its readers, and removed keys that are dropped on the way. See README.md.

   A record's position is the number of its transaction, since each transaction writes one record. Table g lies in
   region g % 2, so that the third stands on the remains of the first. A table has two homes and a slot of slack. */

#ifndef KILLS
#define KILLS 1
#endif
#ifndef OPERATIONS
#define OPERATIONS 2
#endif
#ifndef SNAPSHOTS
#define SNAPSHOTS 1
#endif
#define WORDS 3
#define TABLES 3
#define RECORDS (OPERATIONS + 2)

/* The log. */
byte key[RECORDS], previous[RECORDS];
bit dead[RECORDS];

/* The index: two regions, and the words that say which table is where. Table 0 is none. */
byte word[6];
byte current = 1, next, migrated, zeroed;
/* No removal newer than `floor` is dropped from the next table; none newer than `announced` ever was from any. */
byte floor, announced;

byte commit = 1, sealed = 1;
byte pin[2];

/* For the checks: newest[k * RECORDS + n] is the record of key k as of transaction n. */
byte newest[2 * RECORDS];
byte kills;

#define AT(table, slot) word[((table) % 2) * WORDS + (slot)]
/* Homes differ from table to table, as they do when the number of slots changes. */
#define HOME(table, k) ((table) == 1 -> 0 : ((table) == 2 -> 1 - (k) : (k)))
#define STEP if :: kills < KILLS -> kills++; goto killed :: true fi

/* Zeroes the next table as far as `needed`. */
inline zero_to(needed) {
#ifdef NO_ZERO
  zeroed = (zeroed < needed -> needed : zeroed);
#else
  do :: zeroed < needed -> atomic { STEP; AT(next, zeroed) = 0; zeroed++ }
     :: else -> break
  od
#endif
}

/* Puts a record into the next table, over an older one of its key if there is one. */
inline put_next(record) {
  s = HOME(next, key[record]);
  do :: true ->
        zero_to(s + 1);
        assert(s < WORDS);
        if :: AT(next, s) == 0 -> break
#ifndef BLIND_COPY
           :: AT(next, s) > 0 && key[AT(next, s)] == key[record] -> break
           :: AT(next, s) > 0 && key[AT(next, s)] != key[record] -> s++
#else
           :: AT(next, s) > 0 -> s++
#endif
        fi
  od;
  atomic { STEP; AT(next, s) = record; s = 0 }
}

inline publish(record) {
  t = HOME(current, key[record]);
  do :: AT(current, t) > 0 && key[AT(current, t)] != key[record] -> t++
     :: else -> break
  od;
  assert(t < WORDS);
#ifndef SKIP_NEXT
  if :: next > 0 && t < migrated -> put_next(record) :: else fi;
#endif
  atomic { STEP; AT(current, t) = record; t = 0 }
}

/* Copies one slot; after the last, the next table becomes the current one. */
inline grow() {
  if :: next > 0 && next != current ->
#ifdef COUNT_FIRST
       atomic { STEP; migrated++ }
#define SLOT (migrated - 1)
#else
#define SLOT migrated
#endif
       if :: SLOT < WORDS && AT(current, SLOT) > 0 && !(dead[AT(current, SLOT)] && AT(current, SLOT) <= floor) ->
            t = AT(current, SLOT); put_next(t); t = 0
          :: else
       fi;
#ifndef COUNT_FIRST
       atomic { STEP; migrated++ }
#endif
#ifdef SWITCH_EARLY
       if :: migrated > 0 ->
#else
       if :: migrated >= WORDS ->
#endif
            zero_to(WORDS);
            atomic { STEP; current = next }
            atomic { STEP; next = 0 }
          :: else
       fi
     :: else
  fi
}

/* Fixes the floor and starts to fill the next table. */
inline begin() {
#ifdef NO_ANNOUNCE
  t = commit;
#else
  atomic { STEP; announced = commit; t = commit }
#endif
  atomic {
    skip;
#ifndef DROP_PINNED
    if :: pin[0] > 0 && pin[0] < t -> t = pin[0] :: else fi;
#ifdef ANY_PIN
    if :: pin[0] == 0 && pin[1] > 0 && pin[1] < t -> t = pin[1] :: else fi
#else
    if :: pin[1] > 0 && pin[1] < t -> t = pin[1] :: else fi
#endif
#endif
  }
  atomic { STEP; floor = t; t = 0 }
#ifdef LOWER_FLOOR
  /* One word for both: what was announced is taken back. */
  atomic { STEP; announced = floor }
#endif
  atomic { STEP; migrated = 0; zeroed = 0; next = current + 1 }
}

/* The holders of the mutex, one after the other: a kill hands it to the next, who repairs first. */
proctype Writers() {
  byte s, t, k;
again:
  if :: next == current -> atomic { STEP; next = 0 } :: else fi;
  if :: sealed > commit -> publish(sealed); atomic { STEP; commit = sealed } :: else fi;
  if :: commit > OPERATIONS -> goto end :: else fi;
  if :: next == 0 && current < TABLES -> begin() :: true fi;
  /* Set either key, or remove it if it is there. */
  if :: k = 0 :: k = 1 fi;
  atomic {
    STEP;
    s = newest[k * RECORDS + commit];
    key[commit + 1] = k; dead[commit + 1] = 0;
    if :: s > 0 && !dead[s] -> dead[commit + 1] = 1 :: true fi;
    /* What it replaces is found in the table: a dropped removal is not. */
    t = HOME(current, k);
    do :: AT(current, t) > 0 && key[AT(current, t)] != k -> t++ :: else -> break od;
    previous[commit + 1] = AT(current, t);
    s = 0; t = 0
  }
  atomic {
    STEP;
    sealed = commit + 1;
    newest[sealed] = newest[commit]; newest[RECORDS + sealed] = newest[RECORDS + commit];
    newest[key[sealed] * RECORDS + sealed] = sealed
  }
  publish(sealed);
  atomic { STEP; commit = sealed }
  do :: grow(); if :: next == 0 -> break :: next > 0 -> skip fi
     :: break
  od;
  atomic { k = 0; s = 0; t = 0; goto again }
killed:
  atomic { k = 0; s = 0; t = 0; goto again }
end: skip
}

/* Looks a key up in the table that is current, and again if that was replaced and the key was missed. */
inline look_up() {
  do :: true ->
#ifdef TABLE_FIRST
        if :: table == 0 -> table = current :: else fi;
#else
        table = current;
#endif
        h = 0; s = HOME(table, k);
        do :: s < WORDS ->
              atomic {
                h = AT(table, s);
                if :: h == 0 -> break
                   :: h > 0 && key[h] == k -> break
                   :: h > 0 && key[h] != k -> s++; h = 0
                fi
              }
           :: else -> break
        od;
#ifdef NO_RECHECK
        break
#else
        if :: h == 0 && current != table -> table = 0
           :: else -> break
        fi
#endif
  od;
  do :: h > c -> h = previous[h]
     :: else -> break
  od
}

/* Reads a key as of one transaction, which a pin protects. */
proctype Snapshot(byte me) {
  byte c, h, s, k, table;
again:
#ifdef TABLE_FIRST
  table = current;
#endif
  c = commit;
#ifndef NO_PIN
  pin[me] = c;
#ifndef NO_PIN_RECHECK
  if :: announced > c -> pin[me] = 0; goto again :: else fi;
#endif
#endif
#if SNAPSHOTS > 1
  /* One of two only holds its pin. */
  if :: me == 0 -> goto end :: else fi;
#endif
  if :: k = 0 :: k = 1 fi;
  look_up();
  atomic {
    s = newest[k * RECORDS + c];
    if :: s > 0 && !dead[s] -> assert(h == s)
       :: else -> assert(h == 0 || dead[h])
    fi
  }
end:
  pin[me] = 0
}

#ifdef POINT
/* Reads a key without a pin: what it finds was right at some moment between its begin and its end. */
proctype Point() {
  byte c, h, s, k, table, start;
  bit right;
  c = commit; start = c;
  if :: k = 0 :: k = 1 fi;
  look_up();
  atomic {
    c = (c < start -> c : start);
    do :: c <= commit ->
          s = newest[k * RECORDS + c];
          if :: (h == 0 || dead[h]) && (s == 0 || dead[s]) -> right = 1
             :: h > 0 && h == s -> right = 1
             :: else
          fi;
          c++
       :: else -> break
    od;
    assert(right)
  }
}
#endif

init {
  atomic {
    /* Transaction 1 has set key 0. */
    key[1] = 0; newest[1] = 1; AT(1, HOME(1, 0)) = 1;
    run Writers();
#if SNAPSHOTS > 0
    run Snapshot(0);
#endif
#if SNAPSHOTS > 1
    run Snapshot(1);
#endif
#ifdef POINT
    run Point()
#endif
  }
}
