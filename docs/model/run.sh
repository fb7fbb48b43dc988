#!/bin/sh
# Runs the models, then each with one rule broken, and fails if a model has an error or a broken rule goes unnoticed.
# Needs spin and gcc. `run.sh long` also runs larger bounds (a few minutes).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0

# check NAME clean|broken FILE FLAGS...
check() {
    name=$1 expected=$2 file=$3
    shift 3
    rm -f pan pan.? *.trail
    cp "$here/$file" .
    if ! spin -a "$@" "$file" >spin.out 2>&1 || ! gcc -O1 -w -DSAFETY -DCOLLAPSE -DVECTORSZ=512 -DMEMLIM=6000 -o pan pan.c; then
        cat spin.out
        echo "FAIL $file $name: does not compile"
        exit 1
    fi
    ./pan -m100000 -w22 >pan.out 2>&1 || true
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out | head -n 1)
    # A search that was cut short proves nothing: it must say that it has seen all, or have found an error.
    if grep -q 'errors: 0' pan.out && ! grep -qE 'max search depth too small|Search not completed|out of memory|reached -DMEMLIM' pan.out; then
        outcome=clean
    elif grep -q 'assertion violated\|invalid end state' pan.out; then
        outcome=broken
    else
        cat pan.out
        outcome=unfinished
    fi
    if [ "$outcome" = "$expected" ]; then
        echo "ok   $file $name: $outcome, $states states"
    else
        echo "FAIL $file $name: $outcome instead of $expected, $states states"
        failed=1
    fi
}

check "two writers, two kills" clean commit.pml
for rule in SEAL_FIRST HEADS_UNSEALED COMMIT_FIRST FORGET_SEALED NO_REDO CLEAN_SKIPS_REDO SCAN_PAST_SEAL DROP_SEAL \
    MARKER_ZERO ONE_SLOT NO_WALK HEAD_FIRST; do
    check "without its rule: $rule" broken commit.pml -D$rule
done

check "a snapshot, a kill" clean growth.pml
check "a snapshot, three changes" clean growth.pml -DKILLS=0 -DOPERATIONS=3
check "a point read, a kill" clean growth.pml -DPOINT -DSNAPSHOTS=0
check "two pins" clean growth.pml -DSNAPSHOTS=2 -DKILLS=0
for rule in COUNT_FIRST BLIND_COPY; do
    check "without its rule: $rule" broken growth.pml -D$rule
done
for rule in SWITCH_EARLY SKIP_NEXT NO_ANNOUNCE DROP_PINNED NO_PIN NO_PIN_RECHECK; do
    check "without its rule: $rule" broken growth.pml -DKILLS=0 -D$rule
done
for rule in NO_ZERO LOWER_FLOOR TABLE_FIRST; do
    check "without its rule: $rule" broken growth.pml -DKILLS=0 -DOPERATIONS=3 -D$rule
done
check "without its rule: ANY_PIN" broken growth.pml -DSNAPSHOTS=2 -DKILLS=0 -DANY_PIN
check "without its rule: NO_RECHECK" broken growth.pml -DPOINT -DSNAPSHOTS=0 -DNO_RECHECK

check "a point read, a kill" clean reuse.pml
check "a snapshot, a kill" clean reuse.pml -DSNAPSHOT
for rule in ORDER_LATE NO_NAMED_CHECK NO_ORDER_CHECK NO_COMMIT_CHECK; do
    check "without its rule: $rule" broken reuse.pml -DKILLS=0 -D$rule
done
for rule in NO_PIN NO_PIN_RECHECK NO_ANNOUNCE RETIRED_BY_VERSION MOVED_IS_NEW; do
    check "without its rule: $rule" broken reuse.pml -DSNAPSHOT -DKILLS=0 -D$rule
done

check "a snapshot, a kill" clean compact.pml
check "a loop, a kill" clean compact.pml -DLOOP
for rule in RISING NO_FORWARD TABLE_FIRST FILL_LATE WIPE_PINNED; do
    check "without its rule: $rule" broken compact.pml -D$rule
done
for rule in NO_SENTINEL NO_JUMP WIPE_LOOPED; do
    check "without its rule: $rule" broken compact.pml -DLOOP -D$rule
done

check "a kill, a failed write, a leader taken over" clean flush.pml
for rule in NO_DOUBT NO_MEND SHARED_FILE NEWEST_LATE RELEASE_FIRST LATE_OPEN TRUST_NEW_FILE; do
    check "without its rule: $rule" broken flush.pml -DTRANSACTIONS=3 -D$rule
done

check "two who give blocks back, one of them dies" clean space.pml
for rule in TAKE_PUNCHING DEAD_IS_FREE NO_ALLOCATE NO_CLAIM ANY_NUMBER; do
    check "without its rule: $rule" broken space.pml -D$rule
done

check "a snapshot, a checkpoint, a kill" clean marks.pml
for rule in DROP_ANYWHERE DROP_PINNED DROP_UNSAVED ORDER_FIRST; do
    check "without its rule: $rule" broken marks.pml -D$rule
done

if [ "${1:-}" = long ]; then
    check "three transactions" clean flush.pml -DTRANSACTIONS=3
    check "a snapshot, two changes, a kill" clean compact.pml -DCHANGES=2
    check "a loop, two changes, a kill" clean compact.pml -DLOOP -DCHANGES=2
    check "three writers, a kill" clean commit.pml -DWRITERS=3 -DROUNDS=1 -DKILLS=1
    check "a snapshot, three changes, a kill" clean growth.pml -DOPERATIONS=3
    check "a point read, three changes, a kill" clean growth.pml -DPOINT -DSNAPSHOTS=0 -DOPERATIONS=3
fi
exit $failed
