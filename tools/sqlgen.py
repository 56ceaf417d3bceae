#!/usr/bin/env python3
"""Makes typed C wrappers out of sql/migrations and sql/queries, and checks every statement while doing so.

The format of a query block and the shape of the generated functions are described in src/db/db.h.

    sqlgen.py --out DIR      writes queries_<room>.h and .c for every room, and migrations_gen.c
    sqlgen.py --check        only checks
    sqlgen.py --pg-script    prints a psql script that applies the migrations on PostgreSQL, PREPAREs every statement
                             with typed parameters and describes its columns; its output goes to --pg-compare

The check applies the migrations to an in-memory SQLite and prepares every statement there. Errors have the form
`sql/queries/state.sql:12: stack_get: no such column: nmae`; all of them are reported, not only the first.
"""

import argparse
import hashlib
import os
import re
import sqlite3
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Type word of `in:` and `out:` -> (constant, C type, C type when it may be NULL, PostgreSQL parameter type,
# PostgreSQL types that a column of it may have: count() is a bigint, sum() of bigints a numeric).
TYPES = {
    "text": ("DB_TEXT", "const char *", "const char *", "TEXT", {"text"}),
    "int": ("DB_INT", "int64_t ", "int64_t ", "BIGINT", {"bigint", "integer", "smallint", "numeric"}),
    "blob": ("DB_BLOB", "struct str ", "struct str ", "BYTEA", {"bytea"}),
    "bool": ("DB_BOOL", "bool ", "int64_t ", "BIGINT", {"bigint", "integer", "boolean"}),
    "real": ("DB_REAL", "double ", "double ", "DOUBLE PRECISION", {"double precision", "real", "numeric"}),
}
# What the check binds when it runs a statement to see its columns (LIMIT takes no NULL).
SAMPLES = {"text": "x", "int": 1, "blob": b"x", "bool": 1, "real": 1.0}
PG_WORDS = {"INTEGER": "BIGINT", "BLOB": "BYTEA", "REAL": "DOUBLE PRECISION"}
KINDS = ("one", "many", "exec")
C_WORDS = set(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register"
    " restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool".split()
)
IDENT = re.compile(r"[a-z][a-z0-9_]*\Z")

errors = []


def complain(where, message):
    errors.append(f"{where}: {message}")


def shown(path):
    try:
        return str(Path(path).resolve().relative_to(ROOT))
    except ValueError:
        return str(path)


# --- SQL text ---------------------------------------------------------------------------------------------------

LEXER = re.compile(
    r"""(?P<space>\s+)|(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<string>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*")
    |(?P<param>(?<![:\w]):[A-Za-z_]\w*)|(?P<word>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass
class Token:
    kind: str
    text: str
    pos: int

    def is_word(self, word):
        return self.kind == "word" and self.text.upper() == word

    @property
    def matters(self):
        return self.kind not in ("space", "comment")


def lex(text):
    return [Token(m.lastgroup, m.group(), m.start()) for m in LEXER.finditer(text)]


def split_statements(tokens):
    """Lists of tokens, one per statement, without the `;`; what has nothing but blanks and comments is dropped."""
    out, now = [], []
    for t in tokens:
        if t.kind == "other" and t.text == ";":
            out.append(now)
            now = []
        else:
            now.append(t)
    out.append(now)
    return [s for s in out if any(t.matters for t in s)]


def text_of(tokens):
    return "".join(t.text for t in tokens)


def normal_form(tokens):
    """The tokens alone: a changed comment or indentation is the same statement."""
    return " ".join(t.text for t in tokens if t.matters)


def to_postgres(tokens):
    return "".join(PG_WORDS.get(t.text.upper(), t.text) if t.kind == "word" else t.text for t in tokens)


def numbered(tokens, names, sign):
    return "".join(f"{sign}{names.index(t.text[1:]) + 1}" if t.kind == "param" else t.text for t in tokens)


def is_create_table(tokens):
    words = [t for t in tokens if t.matters][:3]
    return len(words) == 3 and words[0].is_word("CREATE") and words[1].is_word("TABLE")


# --- migrations -------------------------------------------------------------------------------------------------


@dataclass
class Migration:
    version: int
    name: str
    path: Path
    sha256: str
    sqlite: str
    postgres: str
    statements: list = field(default_factory=list)  # (line, SQLite text, loose text)


def loose(tokens):
    """A statement of the schema without STRICT and NOT NULL: there any statement runs with made-up parameters."""
    out = []
    for i, t in enumerate(tokens):
        before = [b for b in tokens[:i] if b.matters]
        after = [a for a in tokens[i + 1 :] if a.matters]
        if t.is_word("NOT") and after and after[0].is_word("NULL") and not (before and before[-1].is_word("IS")):
            continue
        if t.is_word("NULL") and before and before[-1].is_word("NOT") and not (
            len(before) > 1 and before[-2].is_word("IS")
        ):
            continue
        out.append(t)
    return text_of(out)


def read_migrations(folder):
    found = []
    for path in sorted(folder.glob("*.sql")):
        m = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", path.name)
        if not m:
            complain(shown(path), "a migration is named NNNN_what_it_does.sql")
            continue
        text = path.read_text(encoding="utf-8")
        statements = split_statements(lex(text))
        migration = Migration(int(m.group(1)), m.group(2), path, "", "", "")
        sqlite_parts, postgres_parts = [], []
        for s in statements:
            strict = " STRICT" if is_create_table(s) else ""
            first = next(t for t in s if t.matters)
            line = text.count("\n", 0, first.pos) + 1
            for t in s:
                if t.kind == "param":
                    complain(f"{shown(path)}:{line}", f"a migration has no parameters ({t.text})")
                if t.is_word("STRICT") or t.is_word("AUTOINCREMENT") or t.is_word("ROWID"):
                    complain(f"{shown(path)}:{line}", f"{t.text} is not in the subset of both engines")
            migration.statements.append((line, text_of(s).strip() + strict, loose(s)))
            sqlite_parts.append(text_of(s).strip() + strict + ";\n")
            postgres_parts.append(to_postgres(s).strip() + ";\n")
        migration.sqlite = "\n".join(sqlite_parts)
        migration.postgres = "\n".join(postgres_parts)
        normal = ";".join(normal_form(s) for s in statements)
        migration.sha256 = hashlib.sha256(normal.encode()).hexdigest()
        found.append(migration)
    # Numbers may have gaps: one is given out when a piece of work begins, and pieces end in another order.
    for before, m in zip(found, found[1:]):
        if m.version == before.version:
            complain(shown(m.path), f"{m.version:04d} is the number of {shown(before.path)} already")
    return found


def schema_of(migrations, want_loose):
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("PRAGMA foreign_keys = OFF")
    for m in migrations:
        for line, strict_text, loose_text in m.statements:
            try:
                db.execute(loose_text if want_loose else strict_text)
            except sqlite3.Error as e:
                if not want_loose:
                    complain(f"{shown(m.path)}:{line}", str(e))
    if want_loose:
        db.execute("PRAGMA ignore_check_constraints = ON")
    return db


# --- queries ----------------------------------------------------------------------------------------------------


@dataclass
class Column:
    name: str
    type: str
    nullable: bool

    @property
    def c_declaration(self):
        t = TYPES[self.type]
        return f"{t[2] if self.nullable else t[1]}{self.name};"


@dataclass
class Query:
    name: str
    kind: str
    path: Path
    line: int
    doc: list = field(default_factory=list)
    params: list = field(default_factory=list)
    columns: list = field(default_factory=list)
    tokens: list = field(default_factory=list)

    @property
    def where(self):
        return f"{shown(self.path)}:{self.line}: {self.name}"

    @property
    def names(self):
        return [p.name for p in self.params]


def parse_columns(text, where, what):
    out = []
    for part in text.split(","):
        part = part.strip()
        if not part:
            continue
        m = re.fullmatch(r"(\w+)\s+([a-z]+)(\?)?", part)
        if not m or m.group(2) not in TYPES:
            complain(where, f"{what}: `{part}` is not `name type` (types: {' '.join(TYPES)}, with `?`: may be NULL)")
            continue
        if not IDENT.match(m.group(1)) or m.group(1) in C_WORDS:
            complain(where, f"{what}: `{m.group(1)}` is no name for a member of a struct")
            continue
        if any(c.name == m.group(1) for c in out):
            complain(where, f"{what}: `{m.group(1)}` is there twice")
            continue
        out.append(Column(m.group(1), m.group(2), bool(m.group(3))))
    return out


def read_queries(path):
    """All blocks of a file. A block runs from its `-- name:` line to the next one."""
    queries = []
    lines = path.read_text(encoding="utf-8").splitlines()
    blocks = []
    for number, line in enumerate(lines, 1):
        if re.match(r"--\s*name\s*:", line):
            blocks.append((number, []))
        if blocks:
            blocks[-1][1].append(line)
        elif line.strip() and not line.strip().startswith("--"):
            complain(f"{shown(path)}:{number}", "text before the first `-- name:`")
            return queries
    for number, block in blocks:
        m = re.fullmatch(r"--\s*name\s*:\s*(\w+)\s*:(\w+)\s*", block[0])
        if not m or not IDENT.match(m.group(1)) or m.group(2) not in KINDS:
            complain(f"{shown(path)}:{number}", "expected `-- name: lower_case_name :one|:many|:exec`")
            continue
        q = Query(m.group(1), m.group(2), path, number)
        heads = {"in": "", "out": ""}
        current = None
        body = len(block)
        for i, line in enumerate(block[1:], 1):
            stripped = line.strip()
            if not stripped.startswith("--"):
                body = i
                break
            content = stripped[2:].strip()
            head = re.match(r"(in|out)\s*:(.*)", content)
            if head:
                current = head.group(1)
                heads[current] += "," + head.group(2)
            elif current and heads[current].rstrip().endswith(","):
                heads[current] += content
            else:
                current = None
                q.doc.append(content)
        q.params = parse_columns(heads["in"], q.where, "in")
        q.columns = parse_columns(heads["out"], q.where, "out")
        statements = split_statements(lex("\n".join(block[body:])))
        if len(statements) != 1:
            complain(q.where, f"expected one statement, found {len(statements)}")
            continue
        q.tokens = statements[0]
        while q.tokens and not q.tokens[0].matters:
            q.tokens.pop(0)
        while q.tokens and not q.tokens[-1].matters:
            q.tokens.pop()
        # A comment inside of a statement stays in the .sql file.
        q.tokens = [Token("space", " ", t.pos) if t.kind == "comment" else t for t in q.tokens]
        queries.append(q)
    return queries


def check_insert(q, db):
    """An INSERT that leaves out a column which must not be NULL would fail only when it is run."""
    m = re.search(r"\bINSERT\s+INTO\s+(\w+)\s*\(([^)]*)\)", text_of(q.tokens), re.IGNORECASE)
    if not m:
        if re.search(r"\bINSERT\s+INTO\b", text_of(q.tokens), re.IGNORECASE):
            complain(q.where, "INSERT names its columns, so that a later migration may add one")
        return
    given = {c.strip().strip('"').lower() for c in m.group(2).split(",")}
    for _, name, type_, notnull, default, pk in db.execute(f"PRAGMA table_info({m.group(1)})"):
        automatic = pk == 1 and type_.upper() == "INTEGER"
        if notnull and default is None and not automatic and name.lower() not in given:
            complain(q.where, f"INSERT INTO {m.group(1)} leaves out {name}, which is NOT NULL without a DEFAULT")


def check_query(q, strict_db, loose_db):
    before = len(errors)
    used = {t.text[1:] for t in q.tokens if t.kind == "param"}
    for name in sorted(used - set(q.names)):
        complain(q.where, f":{name} is not in `in:`")
    for name in q.names:
        if name not in used:
            complain(q.where, f"`in:` names {name}, but the statement does not use :{name}")
    for t in q.tokens:
        if t.kind == "other" and t.text == "?":
            complain(q.where, "parameters are named (:name)")
    first = q.tokens[0].text.upper()
    returns = first in ("SELECT", "VALUES") or any(t.is_word("RETURNING") for t in q.tokens)
    if first == "WITH" and not any(t.text.upper() in ("INSERT", "UPDATE", "DELETE") for t in q.tokens):
        returns = True
    if q.kind == "exec" and (q.columns or returns):
        complain(q.where, "an :exec statement returns no rows: make it :one or :many")
    if q.kind != "exec" and not q.columns:
        complain(q.where, f"a :{q.kind} statement needs `-- out:`")
    if q.kind != "exec" and not returns:
        complain(q.where, "the statement returns no rows: make it :exec, or add RETURNING")
    if len(errors) > before:
        return
    sql = text_of(q.tokens)
    # NULL fits everywhere but behind LIMIT and OFFSET, which want a number.
    nothing = {p.name: 0 if p.type == "int" else None for p in q.params}
    try:
        strict_db.execute("EXPLAIN " + sql, nothing)
    except sqlite3.Error as e:
        complain(q.where, str(e))
        return
    check_insert(q, strict_db)
    if q.kind == "exec":
        return
    try:
        loose_db.execute("SAVEPOINT look")
        try:
            some = {p.name: SAMPLES[p.type] for p in q.params}
            found = [d[0] for d in loose_db.execute(sql, some).description or []]
        finally:
            loose_db.execute("ROLLBACK TO look")
            loose_db.execute("RELEASE look")
    except sqlite3.Error as e:
        complain(q.where, f"cannot look at its columns: {e}")
        return
    wanted = [c.name for c in q.columns]
    if found != wanted:
        complain(q.where, f"the statement's columns are ({', '.join(found)}), `out:` says ({', '.join(wanted)})")


# --- C ----------------------------------------------------------------------------------------------------------


def c_string(text, indent):
    """A C string literal, one line of source per line of text."""
    out = []
    for line in text.splitlines(keepends=True) or [""]:
        s = "".join(
            {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "?": "\\?"}.get(ch, ch)
            if ch.isascii()
            else "".join(f"\\{b:03o}" for b in ch.encode())
            for ch in line
        )
        out.append(f'{indent}"{s}"')
    return "\n".join(out)


def prototype(q):
    args = ["struct db_conn *c"]
    if q.kind != "exec":
        args.append("struct arena *a")
    if q.params:
        args.append(f"const struct {q.name}_in *in")
    if q.kind == "one":
        args.append(f"struct {q.name}_row *ret")
    if q.kind == "many":
        args += [f"struct {q.name}_row **ret_rows", "size_t *ret_count"]
    args.append("struct err *e")
    return f"int q_{q.name}({', '.join(args)})"


RESULT = {
    "one": "1: found, 0: no row, negative: error",
    "many": "0, or negative: error",
    "exec": "the number of changed rows, or negative: error",
}


def header_of(room, source, queries):
    guard = f"SLIPWAY_DB_QUERIES_{room.upper()}_H"
    out = [
        f"/* Made by tools/sqlgen.py from {source}: do not edit. */",
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        '#include "db/db.h"',
    ]
    for q in queries:
        out.append("")
        for what, columns in (("in", q.params), ("row", q.columns)):
            if columns:
                out.append(f"struct {q.name}_{what} {{")
                out += [f"\t{c.c_declaration}{' /* may be NULL */' if c.nullable else ''}" for c in columns]
                out.append("};")
        doc = [d.replace("*/", "* /") for d in q.doc if d]
        out.append("/* " + "\n * ".join(doc + [RESULT[q.kind]]) + " */")
        out.append(prototype(q) + ";")
    return "\n".join(out + ["", "#endif", ""])


def source_of(room, source, queries):
    out = [
        f"/* Made by tools/sqlgen.py from {source}: do not edit. */",
        f'#include "db/queries_{room}.h"',
        "",
        "#include <stddef.h>",
        "",
        '#include "db/stmt.h"',
    ]
    if not queries:
        # ISO C wants a declaration in every unit.
        out += ["", f"extern const char queries_{room}_is_empty;"]
    for q in queries:
        members = []
        for what, member, columns in (("in", "params", q.params), ("row", "columns", q.columns)):
            if columns:
                out += ["", f"static const struct db_column {q.name}_{member}[] = {{"]
                out += [
                    f'\t{{ "{c.name}", offsetof(struct {q.name}_{what}, {c.name}), {TYPES[c.type][0]},'
                    f" {'true' if c.nullable else 'false'} }},"
                    for c in columns
                ]
                out.append("};")
                members.append(f"\t.{member} = {q.name}_{member},\n\t.{member[:-1]}_count = {len(columns)},")
        out += ["", f"static const struct db_query {q.name}_query = {{", f'\t.name = "{q.name}",', "\t.sql ="]
        out.append(c_string(numbered(q.tokens, q.names, "?"), "\t\t") + ",")
        out += members
        if q.columns:
            out.append(f"\t.row_size = sizeof(struct {q.name}_row),")
        out += ["};", "", prototype(q), "{"]
        given = "in" if q.params else "NULL"
        if q.kind == "one":
            out.append(f"\treturn db_query_one(c, a, &{q.name}_query, {given}, ret, e);")
        elif q.kind == "many":
            out += [
                "\tvoid *rows = NULL;",
                f"\tint rc = db_query_many(c, a, &{q.name}_query, {given}, &rows, ret_count, e);",
                "\tif (rc == 0)",
                "\t\t*ret_rows = rows;",
                "\treturn rc;",
            ]
        else:
            out.append(f"\treturn db_query_exec(c, &{q.name}_query, {given}, e);")
        out.append("}")
    return "\n".join(out + [""])


def migrations_source(migrations, symbol):
    out = [
        "/* Made by tools/sqlgen.py from the migrations: do not edit. */",
        '#include "db/migrate.h"',
        "",
        f"const struct db_migration {symbol}[] = {{",
    ]
    for m in migrations:
        out += [
            "\t{",
            f"\t\t.version = {m.version},",
            f'\t\t.name = "{m.name}",',
            f'\t\t.sha256 = "{m.sha256}",',
            "\t\t.sqlite =",
            c_string(m.sqlite, "\t\t\t") + ",",
            "\t\t.postgres =",
            c_string(m.postgres, "\t\t\t") + ",",
            "\t},",
        ]
    if not migrations:
        out.append("\t{ .version = 0 },")
    return "\n".join(out + ["};", f"const size_t {symbol}_count = {len(migrations)};", ""])


def write_if_changed(path, text):
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


# --- PostgreSQL -------------------------------------------------------------------------------------------------


def pg_script(migrations, rooms):
    out = [
        "\\set QUIET on",
        "\\set ON_ERROR_STOP on",
        "\\set SHOW_CONTEXT never",
        "\\set VERBOSITY terse",
        "\\pset format unaligned",
        "\\pset tuples_only on",
    ]
    for m in migrations:
        out += [f"\\echo -- {shown(m.path)}", "BEGIN;", m.postgres, "COMMIT;"]
    # From here on every failure is told, and the run goes on.
    out.append("\\set ON_ERROR_STOP off")
    for queries in rooms.values():
        for q in queries:
            types = [TYPES[p.type][3] for p in q.params]
            tokens = lex(to_postgres(q.tokens))
            out.append(f"\\echo query {q.name}")
            out.append(
                f"PREPARE {q.name}{' (' + ', '.join(types) + ')' if types else ''} AS {numbered(tokens, q.names, '$')};"
            )
            if q.columns:
                nulls = {n: f"CAST(NULL AS {t})" for n, t in zip(q.names, types)}
                out.append("".join(nulls[t.text[1:]] if t.kind == "param" else t.text for t in tokens) + " \\gdesc")
    out.append("\\echo end")
    return "\n".join(out) + "\n"


def pg_compare(rooms, lines):
    """Reads what psql said to pg_script's text (standard output and error together)."""
    queries = {q.name: q for room in rooms.values() for q in room}
    now, columns, seen, ended = None, [], 0, False

    def finish():
        if now is None:
            return
        wanted = [(c.name, TYPES[c.type][4]) for c in now.columns]
        if [c[0] for c in columns] != [w[0] for w in wanted]:
            complain(now.where, f"PostgreSQL: columns ({', '.join(c[0] for c in columns)})")
            return
        for (name, got), (_, allowed) in zip(columns, wanted):
            if got not in allowed:
                complain(now.where, f"PostgreSQL: column {name} is {got}, not {' or '.join(sorted(allowed))}")

    for line in lines:
        line = line.rstrip("\n")
        if line.startswith("query "):
            finish()
            now, columns, seen = queries[line[6:]], [], seen + 1
        elif line == "end":
            finish()
            ended = True
        elif "ERROR:" in line or "FATAL:" in line:
            # One complaint for a query, although describing it fails too.
            if now or not seen:
                complain(now.where if now else "migrations", "PostgreSQL: " + re.split("(?:ERROR|FATAL): *", line)[1])
            now = None
        elif now is not None and "|" in line:
            columns.append(tuple(line.rsplit("|", 1)))
    if not ended and not errors:
        complain("PostgreSQL", "the script did not run to its end")
    return seen


# --- main -------------------------------------------------------------------------------------------------------


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--migrations", type=Path, default=ROOT / "sql/migrations")
    ap.add_argument("--queries", type=Path, default=ROOT / "sql/queries")
    ap.add_argument("--rooms", help="comma separated: the only query files there may be; one without a file is empty")
    ap.add_argument("--symbol", default="db_migrations", help="name of the table of migrations")
    ap.add_argument("--depfile", type=Path)
    what = ap.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path)
    what.add_argument("--check", action="store_true")
    what.add_argument("--pg-script", action="store_true")
    what.add_argument("--pg-compare", action="store_true", help="reads psql's answer on standard input")
    args = ap.parse_args()
    if sqlite3.sqlite_version_info < (3, 37):
        sys.exit(f"sqlgen.py: python3 brings SQLite {sqlite3.sqlite_version}, needed is 3.37 or newer")

    migrations = read_migrations(args.migrations)
    files = {p.stem: p for p in sorted(args.queries.glob("*.sql"))}
    rooms = {name: [] for name in args.rooms.split(",")} if args.rooms else {}
    names = {}
    for room, path in files.items():
        if args.rooms and room not in rooms:
            complain(shown(path), "is not in the list query_rooms of src/db/meson.build")
            continue
        rooms[room] = read_queries(path)
        for q in rooms[room]:
            if q.name in names:
                complain(q.where, f"is also in {names[q.name]}")
            names[q.name] = f"{shown(q.path)}:{q.line}"
    strict_db = schema_of(migrations, False)
    loose_db = schema_of(migrations, True)
    for queries in rooms.values():
        for q in queries:
            check_query(q, strict_db, loose_db)

    if args.pg_compare and not errors:
        seen = pg_compare(rooms, sys.stdin)
        if not errors:
            print(f"{len(migrations)} migrations applied and {seen} statements prepared on PostgreSQL")
    if errors:
        sys.exit("\n".join(errors))
    if args.pg_script:
        sys.stdout.write(pg_script(migrations, rooms))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        outputs = []
        for room, queries in rooms.items():
            source = shown(files[room]) if room in files else f"nothing: {shown(args.queries)}/{room}.sql does not exist"
            for suffix, make in (("h", header_of), ("c", source_of)):
                outputs.append(args.out / f"queries_{room}.{suffix}")
                write_if_changed(outputs[-1], make(room, source, queries))
        outputs.append(args.out / "migrations_gen.c")
        write_if_changed(outputs[-1], migrations_source(migrations, args.symbol))
        if args.depfile:
            # The folders too: their time changes when a file comes or goes.
            inputs = [args.migrations, args.queries, *(m.path for m in migrations), *files.values()]
            names_of = lambda paths: " ".join(os.path.relpath(p).replace(" ", "\\ ") for p in paths)
            args.depfile.write_text(f"{names_of(outputs)}: {names_of(i.resolve() for i in inputs)}\n")


if __name__ == "__main__":
    main()
