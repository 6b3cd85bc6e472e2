"""Runs a program on a pseudo terminal, and says what the terminal shows.

Arguments: a JSON list of steps on standard input, then the program with its arguments.
A step is {"wait": TEXT} until TEXT was shown, {"type": KEYS}, {"columns": N}, {"term": TERM} at its beginning, {"end": true} until the program has ended.
Prints {"code": exit code, "rows": the rows of the screen and of what has scrolled away, "seen": the screen at each step, "raw": all that was written}.
It breaks lines at a width of its own as a terminal with reflow does: what was one line is one line again in another width.
"""
import codecs, fcntl, json, os, pty, re, select, struct, sys, termios, time

PATIENCE = 60


class Screen:
    """Lines without a width; the cursor is a place in a line. Broken into rows when they are looked at."""

    def __init__(self, columns):
        self.columns, self.lines, self.line, self.at = columns, [''], 0, 0

    def rows(self):
        rows = []
        for line in self.lines:
            rows += [line[start:start + self.columns] for start in range(0, max(len(line), 1), self.columns)]
        return [row.rstrip() for row in rows]

    def put(self, letter):
        line = self.lines[self.line].ljust(self.at)
        self.lines[self.line] = line[:self.at] + letter + line[self.at + 1:]
        self.at += 1

    def feed(self, text):
        for escape, number, end, letter in re.findall(r'(\x1b\[([0-9;?]*)([A-Za-z]))|([\s\S])', text):
            if letter == '\r':
                # The beginning of the row on the screen, not of the line.
                self.at -= self.at % self.columns
            elif letter == '\n':
                self.line, self.at = self.line + 1, 0
                if self.line == len(self.lines):
                    self.lines.append('')
            elif letter:
                assert letter >= ' ', 'the control %r reaches the terminal' % letter
                self.put(letter)
            elif end == 'J' and number in ('', '0'):
                self.lines[self.line] = self.lines[self.line][:self.at]
                del self.lines[self.line + 1:]
            elif end == 'K' and number in ('', '0'):
                self.lines[self.line] = self.lines[self.line][:self.at]
            else:
                raise AssertionError('the sequence %r reaches the terminal' % escape)


def main():
    steps, program = json.load(sys.stdin), sys.argv[1:]
    columns = next((step['columns'] for step in steps if 'columns' in step), 80)
    term = next((step['term'] for step in steps if 'term' in step), 'xterm')
    pid, terminal = pty.fork()
    if pid == 0:
        os.read(0, 1)
        os.execve(program[0], program, {'TERM': term, 'LC_ALL': 'C.UTF-8', 'PATH': os.environ['PATH']})
    size = lambda columns: fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    size(columns)
    flags = termios.tcgetattr(terminal)
    screen, raw, decoder, has_ended = Screen(columns), '', codecs.getincrementaldecoder('utf-8')('replace'), False
    # It begins when the terminal has its size.
    flags[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, flags)
    os.write(terminal, b'\n')
    flags[3] |= termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, flags)

    def read():
        nonlocal raw, has_ended
        if not select.select([terminal], [], [], 0.02)[0]:
            return
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            piece = b''
        has_ended = not piece
        text = decoder.decode(piece)
        raw += text
        screen.feed(text)

    seen = []
    for step in steps:
        began = time.time()
        if 'type' in step:
            os.write(terminal, step['type'].encode())
        if 'columns' in step:
            screen.columns = step['columns']
            size(step['columns'])
        if 'wait' in step or 'end' in step:
            start = len(raw)
            while not has_ended and not ('wait' in step and re.search(step['wait'], raw[start:])):
                assert time.time() - began < PATIENCE, 'in vain waits for %r, and has %r' % (step, raw)
                read()
        seen.append(screen.rows())
    _, status = os.waitpid(pid, 0)
    print(json.dumps({'code': os.waitstatus_to_exitcode(status), 'rows': screen.rows(), 'seen': seen, 'raw': raw}))


main()
