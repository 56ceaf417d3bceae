"""src/base/cron.c beside an independent reader of cron expressions, on random ones.

They differ on purpose in what follows; everything else has to agree, what is refused included:
  - a range that ends before it begins (FRI-MON, 22-2) is refused; croniter takes it around the end;
  - L, 5#2, a sixth or seventh field (seconds, years), H and R of Jenkins are refused;
  - a step is no longer than the field's largest value; croniter takes any;
  - @reboot and @every are refused, as is a name in a field that has none;
  - no match within 40 years is no match;
  - a range from a value to itself (5-5) is that value; to croniter it is a whole turn, as FRI-MON is a part of one;
  - 7/2 in the field of the weekday is Sunday; croniter takes it for a step through the week without Sunday;
  - a day field is unrestricted when it begins with a star, as in Vixie's cron (croniter calls that implement_cron_bug), and only
    then; croniter also takes one for unrestricted that names every day (1-7), or has a star further behind (5,*).
The last three are left out of the random ones, and have rows of their own.

CRON_SEED repeats a run, CRON_EXPRESSIONS (6000) makes it longer."""
import calendar
import datetime
import os
import random
import re
import subprocess

import pytest
from helpers import where

SEED = int(os.environ.get("CRON_SEED") or random.SystemRandom().randrange(2 ** 32))
COUNT = int(os.environ.get("CRON_EXPRESSIONS", "6000"))
NEXT = 4  # times of each expression
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()
FIELDS = [(0, 59, None), (0, 23, None), (1, 31, None), (1, 12, MONTHS), (0, 7, DAYS)]
MACROS = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"]


def ours(lines):
    """For each (after, expression): the next times in seconds, None behind the last one there is; or the words of a refusal."""
    said = subprocess.run([where.build() / "tests/oracle/cron_cli"], input="".join(f"{NEXT} {after} {text}\n" for after, text in lines),
                          capture_output=True, text=True, timeout=300, check=True).stdout.splitlines()
    assert len(said) == len(lines)
    return [s if s.startswith("refused") else [None if t == "never" else int(t) for t in s.split()] for s in said]


def theirs(after, text):
    from croniter import CroniterBadDateError, croniter
    found, at = [], croniter(text, after, implement_cron_bug=True, max_years_between_matches=50)
    for _ in range(NEXT):
        try:
            found.append(int(at.get_next(float)))
        except CroniterBadDateError:
            return [*found, None]
    return found


def too_far(after, found):
    """Ours looks 40 years ahead, to the end of the last one: what lies behind that is never."""
    kept, at = [], after
    for t in found:
        at_year = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).year
        if t is None or datetime.datetime.fromtimestamp(t, datetime.timezone.utc).year > at_year + 40:
            return [*kept, None]
        kept.append(t)
        at = t
    return kept


def differs_on_purpose(text):
    """What croniter reads otherwise (see above)."""
    from croniter import croniter
    if text.strip().startswith("@"):
        return False
    fields = text.split()
    for (low, _, names), field in zip(FIELDS, fields):
        number = {name: low + i for i, name in enumerate(names or ())}
        for first, last in re.findall(r"(\w+)-(\w+)", field):
            first, last = (number.get(v.lower(), v) for v in (first, last))
            if int(first) == int(last) or (names is DAYS and int(first) == 0 and int(last) == 7):
                return True
    if re.search(r"\b0?7/", fields[4]):
        return True
    try:
        expanded = croniter(text).expanded
    except ValueError:
        return False
    return any((expanded[i] == ["*"] or "*" in fields[i]) and fields[i][0] not in "*?" for i in (2, 4))


class Expressions:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def value(self, field, at_most=None):
        low, high, names = FIELDS[field]
        n = self.rng.randint(low, high)
        if names and self.rng.random() < .5:
            name = names[n % 7 if field == 4 else n - 1]
            return n % 7 if field == 4 else n, self.rng.choice((name, name.upper(), name.title()))
        return n, str(n) if self.rng.random() < .9 else f"{n:02d}"

    def element(self, field):
        low, high, _ = FIELDS[field]
        kind = self.rng.random()
        step = f"/{self.rng.choice((1, 2, 3, 5, 7, 10, 15, 20))}" if self.rng.random() < .35 else ""
        if step and int(step[1:]) > high:
            step = "/2"
        if kind < .15:
            return "*" + step
        if kind < .6:
            return self.value(field)[1] + (step if self.rng.random() < .3 else "")
        (a, first), (b, last) = sorted((self.value(field), self.value(field)), key=lambda v: v[0])
        return f"{first}-{last}{step}"

    def field(self, field):
        if self.rng.random() < .35:
            return "?" if field in (2, 4) and self.rng.random() < .1 else "*"
        return ",".join(self.element(field) for _ in range(self.rng.choice((1, 1, 1, 2, 3, 5))))

    def expression(self):
        kind = self.rng.random()
        if kind < .02:
            return self.rng.choice(MACROS)
        if kind < .1:  # leap days, ends of months
            return f"{self.field(0)} {self.field(1)} {self.rng.choice(('29', '30', '31', '28-31', '29,30', '*/29'))} {self.rng.choice(('2', 'feb', '2,4', '*', '4-6'))} {self.field(4)}"
        return " ".join(self.field(i) for i in range(5))

    def after(self):
        """A moment of 2000 to 2110; often beside the end of a minute, a day, a month, a year, a leap day."""
        year, month = self.rng.randint(2000, 2110), self.rng.randint(1, 12)
        if self.rng.random() < .1:
            year, month = self.rng.choice((2000, 2023, 2024, 2096, 2099, 2100, 2103)), 2
        day = self.rng.randint(1, calendar.monthrange(year, month)[1])
        if self.rng.random() < .3:
            day = calendar.monthrange(year, month)[1]
        seconds = self.rng.choice((0, 59, 60, 3599, 3600, 86399, self.rng.randrange(86400)))
        return int(datetime.datetime(year, month, day, tzinfo=datetime.timezone.utc).timestamp()) + seconds


@pytest.mark.timeout(300)
def test_random_expressions_against_croniter():
    print(f"CRON_SEED={SEED}")
    make = Expressions(SEED)
    lines = [line for line in ((make.after(), make.expression()) for _ in range(COUNT)) if not differs_on_purpose(line[1])]
    assert len(lines) > COUNT * .6
    wrong, matched, never = [], 0, 0
    for (after, text), mine in zip(lines, ours(lines)):
        wanted = too_far(after, theirs(after, text))
        if mine != wanted:
            wrong.append(f"{text!r} after {after}: {mine}, not {wanted}")
        matched += mine != [None]
        never += mine == [None]
    assert not wrong, f"CRON_SEED={SEED}: {len(wrong)} of {len(lines)} differ:\n" + "\n".join(wrong[:10])
    assert matched > COUNT * .5 and never > 0, "the expressions are no sample any more"


@pytest.mark.timeout(300)
def test_what_is_taken_is_taken_by_both():
    """Expressions with a fault in them: what we take means the same to croniter, and is taken by it."""
    print(f"CRON_SEED={SEED}")
    make, lines = Expressions(SEED + 1), []
    for _ in range(COUNT // 2):
        text = list(make.expression())
        for _ in range(make.rng.choice((1, 1, 2, 3))):
            at = make.rng.randrange(len(text))
            text[at:at + make.rng.choice((0, 1))] = make.rng.choice("0123456789*/-,? LW#@abc~+.")
        lines.append((make.after(), "".join(text)))
    wrong, refused = [], 0
    for (after, text), mine in zip(lines, ours(lines)):
        if isinstance(mine, str) or differs_on_purpose(text):
            refused += isinstance(mine, str)
            continue
        try:
            wanted = too_far(after, theirs(after, text.strip()))
        except Exception as e:
            wanted = f"{type(e).__name__}: {e}"
        if mine != wanted:
            wrong.append(f"{text!r} after {after}: {mine}, not {wanted}")
    assert not wrong, f"CRON_SEED={SEED}: {len(wrong)} differ:\n" + "\n".join(wrong[:10])
    assert refused > COUNT // 10


@pytest.mark.parametrize("text", ["0 0 * * FRI-MON", "0 22-2 * * *", "0 0 L * *", "0 0 * * 5#2", "0 0 * * 5L", "* * * * * *", "0 0 1 1 * 0 2030", "H 0 * * *",
                                  "R(0-9) 0 * * *", "*/60 * * * *", "@reboot", "@every 5m", "jan * * * *", "? * * * *", "5-3 * * * *"])
def test_refused_on_purpose(text):
    said, = ours([(0, text)])
    assert isinstance(said, str) and said.startswith("refused: "), said


@pytest.mark.parametrize("text, same", [("5-5 3 * * *", "5 3 * * *"), ("0 0 * * tue-2", "0 0 * * 2"), ("0 0 13 * 1-7", "0 0 * * *"), ("0 0 1-31 * 3", "0 0 * * *"),
                                        ("0 0 13 * 5,*", "0 0 * * *"), ("0 0 13 * *,5", "0 0 13 * *"), ("0 0 * * 7/2", "0 0 * * 0"), ("0 0 */2 * 5", "0 0 1-31/2 * 5")])
def test_read_otherwise_on_purpose(text, same):
    moments = [86400 * day for day in range(10000, 40000, 977)]
    mine, wanted = ours([(m, text) for m in moments]), ours([(m, same) for m in moments])
    if text == "0 0 */2 * 5":
        # The star makes it an "and"; the range, which means the same days, an "or".
        assert mine != wanted and mine == [theirs(m, text) for m in moments]
    else:
        assert mine == wanted and not isinstance(mine[0], str)
