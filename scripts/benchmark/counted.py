"""Kills a command before the file operation of a given number, for who wants to see what a kill anywhere leaves."""

SITE = """
import atexit, os, signal, sys

folder, count, last = os.environ["KILLED_FOLDER"], 0, int(os.environ.get("KILLED_BEFORE", "0"))
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.rmdir", "os.truncate"}

def hook(event, arguments):
    global count
    if event not in EVENTS or folder not in str(arguments[0]):
        return
    if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        return
    count += 1
    if count == last:
        os.killpg(0, signal.SIGKILL)

sys.addaudithook(hook)
if path := os.environ.get("KILLED_COUNT"):
    atexit.register(lambda: open(path, "w").write(str(count)))
"""
"""What Python imports by itself when it starts, as `sitecustomize`.

What writes, renames or removes a file below KILLED_FOLDER is counted, and before the operation whose number is
KILLED_BEFORE all processes of the group are killed; without a number KILLED_COUNT is where it says how many there were.
"""
