/* Blocks of free segments that are given back to the file system outside of the mutex, beside a writer that takes segments, a reader that
   holds nothing, and the death of whoever gives back. See README.md.

   A segment's bytes are one word: the number with which the log entered it, 0 where they read as zeros. */

#ifndef TURNS
#define TURNS 4
#endif
#ifndef PUNCHERS
#define PUNCHERS 2
#endif
#define SEGMENTS 2
#define FREE 0
#define PUNCHED 100
/* and above: the process that gives it back. */
#define PUNCHING 101

byte order[SEGMENTS], bytes[SEGMENTS];
/* Whether a store into it can fail for want of space. */
bool has_blocks[SEGMENTS] = 1;
bool dead[PUNCHERS];
bit mutex;
/* The segment that the index names. */
byte named = SEGMENTS;
byte orders;

inline lock() { atomic { mutex == 0 -> mutex = 1 } }
inline unlock() { mutex = 0 }

#ifdef TAKE_PUNCHING
#define IS_FREE(s) (order[s] == FREE || order[s] >= PUNCHED)
#else
#define IS_FREE(s) (order[s] == FREE || order[s] == PUNCHED)
#endif

#ifdef ANY_NUMBER
#define IS_NUMBER(o) true
#else
#define IS_NUMBER(o) (o != FREE && o < PUNCHED)
#endif

/* Enters segments, and takes those that it left out of the log. */
active proctype writer() {
  byte s, turn, p;
again:
  do :: turn < TURNS ->
        turn++;
        lock();
        /* Whoever died while he gave one back: it may have its blocks or not. */
        s = 0;
        do :: s < SEGMENTS ->
              p = order[s];
              if :: p >= PUNCHING ->
                    p = p - PUNCHING;
#ifdef DEAD_IS_FREE
                    if :: dead[p] -> order[s] = FREE :: else fi
#else
                    if :: dead[p] -> order[s] = PUNCHED :: else fi
#endif
                 :: else fi;
              p = 0;
              s++
           :: else -> break
        od;
        if :: IS_FREE(0) && named != 0 -> s = 0
           :: IS_FREE(1) && named != 1 -> s = 1
           :: else -> s = SEGMENTS
        fi;
        if :: s < SEGMENTS ->
#ifndef NO_ALLOCATE
              if :: order[s] == PUNCHED -> has_blocks[s] = 1 :: else fi;
#endif
              orders++;
              order[s] = orders;
              assert(has_blocks[s]);
              bytes[s] = orders;
              p = named;
              named = s;
              if :: p < SEGMENTS -> order[p] = FREE :: else fi;
              p = 0
           :: else
        fi;
        unlock();
        /* What is in use is whole whenever nobody is under way. */
        if :: named < SEGMENTS -> atomic { assert(bytes[named] == order[named]) } :: else fi
     :: else -> break
  od
}

/* Gives blocks back; may be as slow as it likes, and die at any point. */
proctype puncher(byte me) {
  byte s;
  lock();
  if :: order[0] == FREE -> s = 0 :: order[1] == FREE -> s = 1 :: s = SEGMENTS fi;
#ifndef NO_CLAIM
  if :: s < SEGMENTS -> order[s] = PUNCHING + me :: else fi;
#endif
  unlock();
  if :: s < SEGMENTS ->
        if :: dead[me] = 1; goto end :: true fi;
        atomic { bytes[s] = 0; has_blocks[s] = 0 };
        if :: dead[me] = 1; goto end :: true fi;
        atomic { if :: order[s] == PUNCHING + me -> order[s] = PUNCHED :: else fi }
     :: else fi;
end: skip
}

/* A read without a lock. */
active proctype reader() {
  byte s, o, b;
  s = named;
  if :: s < SEGMENTS ->
        o = order[s];
        if :: named == s && IS_NUMBER(o) ->
              b = bytes[s];
              if :: order[s] == o -> assert(b == o) :: else fi
           :: else fi
     :: else fi
}

init {
  atomic {
    run puncher(0);
    if :: PUNCHERS > 1 -> run puncher(1) :: else fi
  }
}
