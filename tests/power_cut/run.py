#!/usr/bin/env python3
"""Cuts the power of a machine that writes a store, again and again, and looks at what is left.

    tests/power_cut/run.py KERNEL BUSYBOX [CUTS]

KERNEL: a Linux kernel with NVMe and ext4 built in, as Debian's linux-image-cloud-amd64 has (apt-get download, dpkg-deb -x: boot/vmlinuz-*).
BUSYBOX: a static busybox (busybox-static: bin/busybox). Needs qemu-system-x86_64 and mkfs.ext4, and no rights.

QEMU is killed with SIGKILL at a random moment while three processes of the guest write (guest.rs): what the guest had only in its memory is lost.
After the next start must be there, of each writer: a prefix of its commits, whole, with at least all that was acknowledged before the cut;
and in the JSON files alone at least what a returned sync had saved.
"""

import gzip, os, random, re, select, stat, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /tmp /mnt /copy
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t tmpfs none /copy
/bin/busybox mount -t ext4 /dev/nvme0n1 /mnt || echo "wrong mount"
# What a cut made of the log's end is put aside, and would fill the disk.
/bin/busybox rm -f /mnt/a.pod/.live/log.cut-*
if [ -f /mnt/a.pod/pod.json ]; then
  /bin/busybox mkdir /copy/a.pod
  /bin/busybox cp /mnt/a.pod/*.json /copy/a.pod/
  if [ -f /mnt/a.pod/.live/intent ]; then echo "unended"; else /power_cut check /copy/a.pod files; fi
fi
[ -d /mnt/a.pod ] && /power_cut check /mnt/a.pod store
echo "begun"
/power_cut write /mnt/a.pod durable &
/power_cut write /mnt/a.pod other &
/power_cut write /mnt/a.pod saved &
wait
echo "wrong end"
/bin/busybox poweroff -f
"""


def archive(files):
    """A cpio archive in the kernel's format."""
    out = bytearray()
    for inode, (name, mode, data) in enumerate(files + [("TRAILER!!!", 0, b"")], 1):
        name = name.encode() + b"\0"
        fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return gzip.compress(bytes(out), 1)


def build():
    target = "x86_64-unknown-linux-gnu"
    environment = dict(os.environ, RUSTFLAGS="-C target-feature=+crt-static")
    subprocess.run(["cargo", "build", "--release", "--example", "power_cut", "--target", target], cwd=ROOT, env=environment, check=True)
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), target, "release", "examples", "power_cut")


def session(kernel, initramfs, disk, seconds):
    """Starts the machine, and cuts its power so many seconds after the writers began. Returns what it said."""
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "512", "-nographic", "-no-reboot", "-kernel", kernel]
    command += ["-initrd", initramfs, "-append", "console=ttyS0 quiet panic=-1", "-nic", "none"]
    command += ["-drive", f"file={disk},format=raw,if=none,id=d,cache=none", "-device", "nvme,drive=d,serial=1"]
    machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, start, cut = b"", time.monotonic(), None
    while cut is None or time.monotonic() < cut:
        if select.select([machine.stdout], [], [], 0.01)[0]:
            piece = os.read(machine.stdout.fileno(), 65536)
            if not piece:
                break
            said += piece
        if cut is None and b"begun" in said:
            cut = time.monotonic() + seconds
        if cut is None and time.monotonic() > start + 120:
            break
    machine.kill()
    # What it said before it was killed.
    said += machine.stdout.read()
    machine.wait()
    return said.decode(errors="replace").replace("\r", "")


def main():
    kernel, busybox = sys.argv[1:3]
    cuts = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    seed = int(os.environ.get("SEED", time.time()))
    random.seed(seed)
    program = build()
    read = lambda path: open(path, "rb").read()
    with tempfile.TemporaryDirectory(prefix="power-cut-", dir=os.environ.get("TMPDIR", ROOT)) as directory:
        initramfs, disk = os.path.join(directory, "initramfs"), os.path.join(directory, "disk")
        executable = stat.S_IFREG | 0o755
        files = [("dev", stat.S_IFDIR | 0o755, b""), ("bin", stat.S_IFDIR | 0o755, b""), ("bin/busybox", executable, read(busybox))]
        files += [("power_cut", executable, read(program)), ("init", executable, INIT.encode())]
        open(initramfs, "wb").write(archive(files))
        subprocess.run(["truncate", "-s", "1G", disk], check=True)
        subprocess.run(["mkfs.ext4", "-q", disk], check=True)
        kept, saved, commits, unended, failures = {"durable": 0, "other": 0, "saved": 0}, 0, 0, 0, 0
        for cut in range(cuts + 1):
            said = session(kernel, initramfs, disk, random.uniform(0.05, 2.5))
            wrong = re.findall(r"wrong.*|panicked.*|Kernel panic.*", said)
            found = {(what, writer): int(count) for what, writer, count in re.findall(r"found (\w+) (\w+) (\d+)\n", said)}
            if "begun" not in said:
                wrong.append("the writers did not begin")
            for writer, least in kept.items():
                if cut > 0 and found.get(("store", writer), -1) < least:
                    wrong.append(f"{least} commits of {writer} were acknowledged, {found.get(('store', writer))} are there")
            if ("files", "saved") in found and found["files", "saved"] < saved:
                wrong.append(f"{saved} commits were saved, {found['files', 'saved']} are in the files")
            unended += "unended" in said
            before = dict(kept)
            for writer in kept:
                # A line that was cut off was not said.
                acknowledged = [int(count) for count in re.findall(rf"kept {writer} (\d+)\n", said)]
                saved = max(acknowledged + [saved]) if writer == "saved" else saved
                kept[writer] = max(acknowledged + [found.get(("store", writer), 0)])
            commits += sum(kept[writer] - before[writer] for writer in kept)
            if wrong:
                failures += 1
                print(f"seed {seed}, cut {cut}:", *wrong, sep="\n  ")
                print(said[-3000:])
            if cut % 10 == 0:
                print(f"{cut} cuts: {commits} commits, {unended} in the middle of a checkpoint, {failures} failures", flush=True)
        print(f"seed {seed}: {cuts} power cuts, {commits} commits, {unended} cuts in the middle of a checkpoint, {failures} failures")
        sys.exit(failures > 0)


main()
