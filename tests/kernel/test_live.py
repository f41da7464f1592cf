"""Packets seen while they are captured: by tcpdump behind -t, and by tshark at the other end of a pipe."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from network import Network, sh
from xcap import PATIENCE, XCAP, Running, run

pytestmark = pytest.mark.kernel

PINGS = "ping -c 5 -i 0.2 10.78.0.2"
RX = "rx /icmp and src host 10.78.0.1/ { dump; }"


def test_tcpdump_shows_what_is_in_the_file(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "f.pcap"
    done = run("-i", net.right, "-e", RX, "-t", "-nnvt", "-w", str(out), "--cmd", f"{net.in_a(PINGS)} >&2")
    assert done.status == 0, done.err
    assert done.out == sh(f"tcpdump -nnvt -r {out} 2>/dev/null")
    assert done.out.count("ICMP echo request") == 5


def test_packets_without_a_link_header_are_shown_among_others(net: Network) -> None:
    sh(net.in_b("iptables -A OUTPUT -p icmp -j DROP"))
    program = "drop /icmp/ { dump; } rx /icmp/ { dump; }"
    # by their size they are told from what others on this machine send
    ping = net.in_a("ping -c 2 -i 0.2 -W 1 -s 321 10.78.0.2")
    done = run("-e", program, "-t", "-nnt", "--cmd", f"{ping} >&2; true")
    assert done.status == 0, done.err
    lines = [line for line in done.out.splitlines() if line.endswith("length 329")]
    assert sum("10.78.0.1 > 10.78.0.2: ICMP echo request" in line for line in lines) == 2
    assert sum("10.78.0.2 > 10.78.0.1: ICMP echo reply" in line for line in lines) == 2


def test_a_clause_without_a_block_is_shown_and_lines_go_to_standard_error(net: Network) -> None:
    clause = "rx /icmp and src host 10.78.0.1/"
    program = f'{clause}; {clause} {{ printf("seen\\n"); @ = count(); }}'
    done = run("-i", net.right, "-e", program, "-t", "-nnt", "--cmd", f"{net.in_a(PINGS)} >&2")
    assert done.status == 0, done.err
    assert done.out.count("ICMP echo request") == len(done.out.splitlines()) == 5
    assert done.err.count("seen\n") == 5
    assert "@: 5" in done.err


def test_a_packet_is_shown_while_the_capture_goes_on(net: Network) -> None:
    command = [*XCAP, "-i", net.right, "-e", RX, "-t", "-nnt", "--time", f"{PATIENCE}s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while " attached" not in process.stderr.readline():
            assert process.poll() is None
        sh(net.in_a("ping -c 1 10.78.0.2"))
        assert "ICMP echo request" in process.stdout.readline()
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_ctrl_c_ends_tcpdump_when_it_has_shown_everything(net: Network, tmp_path: Path) -> None:
    """A terminal sends the signal to the whole process group."""
    out = tmp_path / "shown"
    with out.open("w") as shown, (tmp_path / "err").open("w") as errors:
        command = [
            *XCAP,
            "-i",
            net.right,
            "-e",
            RX,
            "-t",
            "-nnt",
            "--cmd",
            f"{net.in_a(PINGS)} >&2; touch {tmp_path}/go; sleep 60",
        ]
        process = subprocess.Popen(command, stdout=shown, stderr=errors, start_new_session=True)
        sh(f"timeout {PATIENCE} sh -c 'until [ -e {tmp_path}/go ]; do sleep 0.05; done'")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert out.read_text().count("ICMP echo request") == 5


def test_when_tcpdump_has_seen_enough_the_capture_ends(net: Network) -> None:
    command = f"{net.in_a('ping -i 0.2 -w 60 10.78.0.2')} >&2"
    done = run("-i", net.right, "-e", RX, "-t", "-nntc2", "--cmd", command)
    assert done.status == 0, done.err
    assert done.out.count("ICMP echo request") == len(done.out.splitlines()) == 2


@pytest.mark.parametrize("flags", ["-c x", "icmp and", "-n -Q"])
def test_options_that_tcpdump_refuses_are_a_wrong_command_line(flags: str) -> None:
    done = run("-e", "rx", "-t", flags, "--time", "5s")
    assert done.status == 2
    first, second = done.err.splitlines()
    assert first.startswith("xcap: -t: tcpdump: ")
    assert second == "xcap: see 'xcap --help'"


def test_two_cannot_have_standard_output(tmp_path: Path) -> None:
    done = run("-e", 'rx { dump("-"); }', "-t", "-n", "--time", "1s", cwd=tmp_path)
    assert done.status == 2
    assert "standard output" in done.err


def test_tshark_shows_what_comes_out_of_a_pipe(net: Network) -> None:
    """As `| wireshark -k -i -` does."""
    xcap = subprocess.Popen(
        [*XCAP, "-U", "-i", net.right, "-e", RX, "-w", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False
    )
    assert xcap.stdout is not None
    assert xcap.stderr is not None
    fields = "-T fields -e icmp.seq -e frame.interface_name -e frame.comment"
    tshark = subprocess.Popen(
        f"tshark -l -i - -c 5 {fields}",
        shell=True,
        stdin=xcap.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    xcap.stdout.close()
    while b" attached" not in xcap.stderr.readline():
        assert xcap.poll() is None
    with subprocess.Popen(net.in_a("ping -i 0.2 -w 60 10.78.0.2"), shell=True, stdout=subprocess.DEVNULL) as ping:
        shown, _ = tshark.communicate(timeout=PATIENCE)
        assert xcap.wait(PATIENCE) == 0  # nobody reads any more: no mistake
        sh(f"for pid in $(ip netns pids {net.a}); do kill $pid; done")
        ping.wait(PATIENCE)
    xcap.stderr.close()
    rows = [line.split("\t") for line in shown.splitlines()]
    sequence = [int(row[0]) for row in rows]
    assert sequence == list(range(sequence[0], sequence[0] + 5))
    assert {row[1] for row in rows} == {net.right}
    assert all(row[2].startswith("rx pid=") for row in rows)


def test_a_named_pipe_is_read_while_it_is_written(net: Network, tmp_path: Path) -> None:
    pipe, err = tmp_path / "pipe", tmp_path / "err"
    os.mkfifo(pipe)
    with err.open("w+") as errors:
        command = [
            *XCAP,
            "-U",
            "-i",
            net.right,
            "-e",
            RX,
            "-w",
            str(pipe),
            "--cmd",
            f"{net.in_a('ping -i 0.2 -w 60 10.78.0.2')} >&2",
        ]
        xcap = subprocess.Popen(command, stderr=errors)
        shown = sh(f"tcpdump -nr {pipe} -c 3 2>/dev/null")
        assert shown.count("ICMP echo request") == 3
        assert xcap.wait(PATIENCE) == 0  # nobody reads any more: no mistake
    assert f"{pipe} is a named pipe: the capture begins when somebody reads it" in err.read_text()


def test_a_reader_that_is_gone_before_anything_came_is_no_mistake() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*XCAP, "-e", RX, "-w", "-", "--time", f"{PATIENCE}s"]
    done = subprocess.run(command, check=False, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert "xcap: " not in done.stderr


def test_lines_do_not_go_among_packets(net: Network) -> None:
    command = [*XCAP, "-i", net.right, "-e", RX.replace("dump;", "dump; print;"), "-w", "/dev/stdout"]
    pings = ["--cmd", f"{net.in_a(PINGS)} >&2"]
    done = subprocess.run([*command, *pings], check=True, capture_output=True, timeout=PATIENCE)
    assert done.stderr.count(b" rx " + net.right.encode() + b" IP 10.78.0.1 > 10.78.0.2: ICMP echo request") == 5
    shown = subprocess.run(["tcpdump", "-nr", "-"], check=True, input=done.stdout, capture_output=True)
    assert shown.stdout.count(b"ICMP echo request") == 5


def test_two_captures_do_not_write_one_file(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "f.pcapng"
    first = Running("-i", net.right, "-e", RX, "-w", str(out))
    sh(net.in_a("ping -c 3 -i 0.2 10.78.0.2"))
    second = run("-e", RX, "-w", str(out), "--time", "1s")
    assert (second.status, second.err) == (3, f"xcap: cannot write '{out}': it is being written already\n")
    done = first.stop()
    assert done.status == 0, done.err
    assert sh(f"tcpdump -nr {out}").count("ICMP echo request") == 3


def test_pcap_says_what_it_has_no_place_for(tmp_path: Path) -> None:
    for name, said in (("f.pcap", True), ("f.pcapng", False)):
        for quiet in ((), ("-q",)):
            done = run(*quiet, "-e", "rx { dump; }", "-w", str(tmp_path / name), "--time", "100ms")
            assert done.status == 0
            assert ("has no place for hook, reason, process and namespace" in done.err) == (said and not quiet)


def test_names_without_a_time_are_told(tmp_path: Path) -> None:
    for name, options, said in (("f", ("-W", "1"), False), ("f", (), True), ("f%S", (), False)):
        done = run("-e", "rx { dump; }", "-w", str(tmp_path / name), "-G", "60", *options, "--time", "100ms")
        assert done.status == 0
        assert ("each file replaces the one before" in done.err) == said


def test_a_file_that_is_deleted_meanwhile_is_told(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "f.pcapng"
    running = Running("-i", net.left, "-e", "tx /icmp/ { dump; }", "-w", str(out))
    sh(net.in_a("ping -c 3 -i 0.05 10.78.0.2"))
    out.unlink()
    done = running.stop()
    assert done.status == 3
    assert f"xcap: '{out}' was deleted while it was written: its 3 packets are lost" in done.err
    assert "written to" not in done.err


def test_a_file_that_is_moved_meanwhile_is_told(net: Network, tmp_path: Path) -> None:
    out, moved = tmp_path / "f.pcapng", tmp_path / "moved.pcapng"
    running = Running("-i", net.left, "-e", "tx /icmp/ { dump; }", "-w", str(out))
    sh(net.in_a("ping -c 3 -i 0.05 10.78.0.2"))
    out.rename(moved)
    done = running.stop()
    assert done.status == 0
    assert f"3 packets written to {out}, which was moved to {moved}" in done.err
    assert len(sh(f"tshark -r {moved} 2>/dev/null").splitlines()) == 3


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(net: Network) -> None:
    ping = net.in_a("ping -q -i 0.05 10.78.0.2").split()
    pinging = subprocess.Popen(ping, stdout=subprocess.DEVNULL)
    try:
        command = f"{XCAP[0]} -i {net.right} -e '{RX}' -t -nn --time 50s | head -1; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=PATIENCE)
    finally:
        pinging.kill()
        pinging.wait()
    assert done.returncode == 0
    assert "ICMP echo request" in done.stdout
    attached, counts, reading = sorted(done.stderr.splitlines())
    assert attached == "1 probe attached"
    assert " matched, " in counts
    assert reading.startswith("reading from file -")


@pytest.mark.parametrize("ends", ["--time", "signal"])
@pytest.mark.parametrize("options", [["-w", "-"], ["-t", "-nn"], ["-f", "json"]])
def test_a_reader_that_does_not_read_does_not_keep_it_from_ending(net: Network, options: list[str], ends: str) -> None:
    time = ["--time", "2s"] if ends == "--time" else []
    program = RX.replace("{ dump; }", "{ dump; }" if "json" not in options else "{ print; }")
    command = [*XCAP, "-i", net.right, "-e", program, *options, *time]
    reading, writing = os.pipe()
    process = subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    try:
        assert process.stderr is not None
        told = ""
        while " attached" not in told:
            told += process.stderr.readline()
        sh(net.in_a("ping -q -f -c 3000 10.78.0.2"))
        if ends == "signal":
            process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
    assert process.returncode == 3, rest
    assert "xcap: cannot write standard output: nobody reads it" in rest
    if "-w" in options:
        assert " packets are lost: nobody read standard output" in rest


def test_a_reader_that_is_only_slow_gets_everything(net: Network, tmp_path: Path) -> None:
    out = tmp_path / "out"
    slowly = (
        f"python3 -c 'import os, time\nwhile data := os.read(0, 4096): os.write(1, data); time.sleep(0.05)' > {out}"
    )
    ping = net.in_a("ping -q -f -c 3000 10.78.0.2")
    command = f"{XCAP[0]} -i {net.right} -e '{RX}' -w - --cmd '{ping} >&2' | {slowly}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "3000 packets written to standard output" in done.stderr
    assert len(sh(f"tshark -r {out} 2>/dev/null").splitlines()) == 3000
