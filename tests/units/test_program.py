"""A user's script in a fork behaves as in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from clary.runtimes import program

SCRIPTS = {
    "values": """
        import json, os, sys
        print(json.dumps([sys.argv, __name__, os.path.basename(__file__), os.getcwd() == os.path.dirname(__file__)]))
        print(os.environ["GIVEN"], "HOME" in os.environ, sys.path[0] == os.getcwd())
        import helper
        print(helper.VALUE)
    """,
    "raises": """
        def inner():
            raise ValueError("no such thing")
        inner()
    """,
    "exit_code": "import sys; sys.exit(7)",
    "exit_text": "import sys; sys.exit('told why')",
    "exit_none": "import sys; sys.exit()",
    "signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "syntax": "def broken(:\n    pass\n",
    "ends": """
        import atexit, threading, time
        atexit.register(lambda: print("exit function"))
        threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
        print("main")
    """,
    "pickles": """
        import pickle
        class Model:
            pass
        print(type(pickle.loads(pickle.dumps(Model()))) is Model)
    """,
    "children": """
        import multiprocessing
        def work(value):
            return value * 2
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(work, [1, 2]))
    """,
    "warns": """
        import sys
        print("to errors", file=sys.stderr)
        print("to output")
    """,
}


def lay_out(folder: Path, text: str) -> None:
    (folder / "script.py").write_text(dedent(text))
    (folder / "helper.py").write_text("VALUE = 5\n")


def runner(folder: Path, fork: bool) -> list[str]:
    """A command that does nothing but run the script, and tells how it ended."""
    code = f"""
        import json, sys
        from pathlib import Path
        from clary.runtimes import program
        given, folder = {{"GIVEN": "yes", "PATH": "/bin"}}, Path({str(folder)!r})
        found = program.run([sys.executable, "script.py", "--a", "b c"], folder, given, {fork})
        sys.stderr.write("\\0" + json.dumps(found))
    """
    return [sys.executable, "-c", dedent(code)]


def ran(folder: Path, fork: bool) -> tuple[str, ...]:
    """Output, errors, and what the runner returned."""
    done = subprocess.run(runner(folder, fork), capture_output=True, text=True, check=True, cwd="/")
    errors, _, result = done.stderr.partition("\0")
    return done.stdout, errors, result


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_fork_is_an_interpreter_of_its_own(tmp_path: Path, name: str) -> None:
    lay_out(tmp_path, SCRIPTS[name])
    executed, forked = ran(tmp_path, fork=False), ran(tmp_path, fork=True)
    if name == "raises":  # an interpreter shows a relative name of the program, and so does a fork of its folder
        executed = tuple(part.replace('File "script.py"', f'File "{tmp_path}/script.py"') for part in executed)
        executed = tuple(part.replace('File \\"script.py\\"', f'File \\"{tmp_path}/script.py\\"') for part in executed)
    assert forked == executed


@pytest.mark.parametrize("fork", [True, False])
def test_a_warning_does_not_split_a_line(tmp_path: Path, fork: bool) -> None:
    log = tmp_path / "log"
    lay_out(
        tmp_path,
        f"""
        import os
        os.write(1, b"LOSS ")
        os.write(2, b"warning\\n")
        while b"warning" not in open({str(log)!r}, "rb").read():
            pass
        os.write(1, b"0.5\\n")
        os.write(1, b"no end")
        """,
    )
    with log.open("wb") as out:
        subprocess.run(runner(tmp_path, fork), stdout=out, stderr=out, check=True, cwd="/")
    assert log.read_text().partition("\0")[0].splitlines() == ["warning", "LOSS 0.5", "no end"]


@pytest.mark.parametrize("fork", [True, False])
def test_a_script_is_asked_to_end(tmp_path: Path, fork: bool) -> None:
    lay_out(
        tmp_path,
        """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
        print("up", file=sys.stderr, flush=True)
        signal.pause()
        """,
    )
    with subprocess.Popen(runner(tmp_path, fork), stderr=subprocess.PIPE, text=True, cwd="/") as child:
        assert child.stderr is not None
        assert child.stderr.readline() == "up\n"
        child.terminate()
        assert child.stderr.read() == '\0[9, "up\\n"]'


def test_what_a_fork_cannot_give_gets_an_interpreter(tmp_path: Path) -> None:
    lay_out(tmp_path, "print(1)")
    assert program.independent(tmp_path) and program.independent(tmp_path / "absent")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "setup.py").write_text("subprocess.run([sys.executable, '-m', 'pip', 'install', 'numpy<2'])")
    assert not program.independent(tmp_path)
    (tmp_path / "sub" / "setup.py").unlink()
    (tmp_path / "json.py").write_text("")
    assert not program.independent(tmp_path)
    assert program.forkable({"SETTING": "1"}) and not program.forkable({"OMP_NUM_THREADS": "1"})
