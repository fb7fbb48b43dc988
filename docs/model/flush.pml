/* Who flushes the log for all, and what is believed of it. See README.md.

   A transaction's bytes are one page: dirty, on the disk, or neither, when the system failed to write it and marked it clean.
   Each open file has a cursor into the count of failures: a flush through it tells of those since. A file that is opened
   after a failure was told to somebody does not hear of it. Processes die at any step, and others come in their place. */

#ifndef KILLS
#define KILLS 1
#endif
#ifndef FAILURES
#define FAILURES 1
#endif
#ifndef TAKEOVERS
#define TAKEOVERS 1
#endif
#ifndef TRANSACTIONS
#define TRANSACTIONS 2
#endif
#define PROCESSES 2
#define NOBODY 0

/* The disk and the system. */
bit dirty[TRANSACTIONS + 1], written[TRANSACTIONS + 1];
byte failures;
bit told = 1;
/* A process's own open file; one for all of a family of forks without the rule. */
byte cursor[PROCESSES + 1];
bit is_open[PROCESSES + 1];
#ifdef SHARED_FILE
#define FILE(me) 1
#else
#define FILE(me) me
#endif

/* The control page. */
byte commit, horizon, failed, mended, leader;
bit dead[PROCESSES + 1];

byte kills, takeovers, i;

#define STEP if :: kills < KILLS -> kills++; goto killed :: true fi

inline raise(word, value) { if :: word < (value) -> word = (value) :: else fi }

/* The system writes what is dirty; each page may fail. */
inline write_back(t) {
  d_step { t = 1 };
  do :: t <= TRANSACTIONS && dirty[t] ->
        atomic { if :: dirty[t] ->
             if :: dirty[t] = 0; written[t] = 1
                :: failures < FAILURES -> dirty[t] = 0; failures++; told = 0
             fi
           :: else fi; t++ }
     :: t <= TRANSACTIONS && !dirty[t] -> t++
     :: t > TRANSACTIONS -> break
  od;
  t = 0
}

inline open_file(at) {
  atomic { if :: told -> at = failures :: else -> at = failures - 1 fi }
}

proctype process(byte me) {
  byte mine, before, seen, newest, t, at;
  bit sound, fails, is_old;
again:
  do :: commit < TRANSACTIONS ->
        atomic { STEP; if :: commit == TRANSACTIONS -> goto again :: else -> commit++ fi; mine = commit; dirty[mine] = 1; written[mine] = 0 };
wait:
        if :: horizon >= mine -> goto done
           :: horizon < mine && leader == NOBODY -> before = NOBODY
           :: horizon < mine && leader != NOBODY && leader != me && dead[leader] -> before = leader
           /* Past its deadline, whatever it does. */
           :: horizon < mine && leader != NOBODY && leader != me && !dead[leader] && takeovers < TAKEOVERS ->
                before = leader; takeovers++
        fi;
        atomic { STEP; if :: leader == before -> leader = me :: else -> before = 0; goto wait fi };
#ifndef NO_DOUBT
        if :: before != NOBODY -> atomic { STEP; failed++ } :: else fi;
#endif
        before = 0;
#ifdef LATE_OPEN
        seen = failed;
#endif
        is_old = is_open[FILE(me)];
        if :: !is_old -> open_file(cursor[FILE(me)]); is_open[FILE(me)] = 1 :: else fi;
#ifndef LATE_OPEN
        seen = failed;
#endif
#ifdef TRUST_NEW_FILE
        sound = (mended >= seen);
#else
        /* A leader who was taken over may have been told of a failure that he has not published yet. */
        sound = (mended >= seen && (is_old || seen == 0));
#endif
        is_old = 0;
#ifndef NEWEST_LATE
        newest = commit;
#endif
        if :: sound ->
                write_back(t);
                atomic { STEP; fails = (failures != cursor[FILE(me)]); cursor[FILE(me)] = failures; told = 1 }
           :: else ->
                open_file(at);
                t = horizon + 1;
#ifndef NO_MEND
                do :: t <= commit -> atomic { STEP; dirty[t] = 1; t++ } :: else -> break od;
#endif
                write_back(t);
                atomic { STEP; fails = (failures != at); told = 1; at = 0 }
        fi;
        t = 0;
#ifdef RELEASE_FIRST
        atomic { STEP; if :: leader == me -> leader = NOBODY :: else fi };
#endif
        if :: fails -> atomic { STEP; failed++ }
           :: else ->
#ifdef NEWEST_LATE
                newest = commit;
#endif
                atomic { STEP; raise(mended, seen) };
                atomic { STEP; raise(horizon, newest);
                         i = 1; do :: i <= horizon -> assert(written[i]); i++ :: else -> i = 0; break od }
        fi;
#ifndef RELEASE_FIRST
        atomic { STEP; if :: leader == me -> leader = NOBODY :: else fi };
#endif
        atomic { seen = 0; newest = 0; sound = 0; if :: fails -> fails = 0; goto done :: else -> goto wait fi };
done:
        mine = 0
     :: else -> break
  od;
  goto end;
killed:
  /* Its word stays; a process that comes in its place is another one, with a file that it opens itself. */
  atomic { dead[me] = 1; mine = 0; before = 0; seen = 0; newest = 0; t = 0; at = 0; sound = 0; fails = 0; is_old = 0 };
#ifndef SHARED_FILE
  atomic { is_open[me] = 0; cursor[me] = 0 };
#endif
  /* It takes no number of a leader that nobody has replaced. */
  if :: leader != me -> dead[me] = 0; goto again
     :: horizon == TRANSACTIONS || commit == TRANSACTIONS -> goto end
  fi;
end: skip
}

/* The system also writes by itself. */
proctype system() {
  byte t;
  write_back(t)
}

init { atomic { run process(1); run process(2); run system() } }
