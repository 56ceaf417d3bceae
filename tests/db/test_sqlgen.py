"""tools/sqlgen.py: what it refuses, and with which words."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SQLGEN = Path(__file__).resolve().parents[2] / "tools/sqlgen.py"
SCHEMA = """
CREATE TABLE pets (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL,
	age INTEGER NOT NULL DEFAULT 0,
	photo BLOB
);
"""
GOOD = """
-- name: pet_get :one
-- in: id text
-- out: name text, age int, photo blob?
SELECT name, age, photo FROM pets WHERE id = :id;
"""


class Sqlgen(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = Path(folder.name)
        (self.dir / "migrations").mkdir()
        (self.dir / "queries").mkdir()
        self.migration("0001_pets", SCHEMA)

    def migration(self, name, text):
        (self.dir / f"migrations/{name}.sql").write_text(text)

    def queries(self, text, room="zoo"):
        (self.dir / f"queries/{room}.sql").write_text(text)

    def run_it(self, *args):
        return subprocess.run(
            [sys.executable, SQLGEN, "--migrations", self.dir / "migrations", "--queries", self.dir / "queries", *args],
            capture_output=True,
            text=True,
        )

    def refused(self, text, *words):
        self.queries(text)
        done = self.run_it("--check")
        self.assertEqual(done.returncode, 1, done.stderr)
        for w in words:
            self.assertIn(w, done.stderr)

    def test_good(self):
        self.queries(GOOD)
        done = self.run_it("--check")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_error_names_file_line_and_query(self):
        self.refused(GOOD.replace("photo FROM", "foto FROM"), "queries/zoo.sql:2: pet_get: no such column: foto")

    def test_all_errors_are_reported(self):
        bad = GOOD.replace("FROM pets", "FROM pet")
        self.refused(bad + bad.replace("pet_get", "pet_got"), "zoo.sql:2: pet_get: no such", "zoo.sql:7: pet_got: no such")

    def test_columns(self):
        self.refused(GOOD.replace("age int, ", ""), "columns are (name, age, photo), `out:` says (name, photo)")
        self.refused(GOOD.replace("SELECT name, age", "SELECT age, name"), "columns are (age, name, photo)")

    def test_parameters(self):
        self.refused(GOOD.replace(":id", ":ident"), ":ident is not in `in:`", "does not use :id")
        self.refused(GOOD.replace(":id", "?"), "parameters are named")
        self.refused(GOOD.replace("in: id text", "in: id string"), "`id string` is not `name type`")

    def test_kinds(self):
        self.refused(GOOD.replace(":one", ":exec"), "an :exec statement returns no rows")
        self.refused(GOOD.replace(":one", ":two"), "expected `-- name:")
        self.refused("-- name: x :one\n-- out: id text\nDELETE FROM pets;", "add RETURNING")
        self.refused("-- name: x :many\nSELECT id FROM pets;", "needs `-- out:`")
        self.refused("-- name: x :exec\nDELETE FROM pets; DELETE FROM pets;", "expected one statement, found 2")

    def test_insert_without_a_needed_column(self):
        self.refused(
            "-- name: pet_add :exec\n-- in: id text\nINSERT INTO pets (id) VALUES (:id);",
            "leaves out name, which is NOT NULL",
        )
        self.refused("-- name: x :exec\nINSERT INTO pets SELECT * FROM pets;", "INSERT names its columns")

    def test_the_same_name_in_two_rooms(self):
        self.queries(GOOD, "aquarium")
        self.refused(GOOD, "pet_get: is also in")

    def test_a_room_that_the_build_does_not_know(self):
        self.queries(GOOD)
        done = self.run_it("--check", "--rooms", "aquarium")
        self.assertIn("query_rooms", done.stderr)

    def test_migrations(self):
        self.queries(GOOD)
        self.migration("0003_late", "CREATE TABLE b (id TEXT);")
        self.assertEqual(self.run_it("--check").returncode, 0, "a gap")
        self.migration("0003_again", "CREATE TABLE c (id TEXT);")
        self.assertIn("0003 is the number of", self.run_it("--check").stderr)
        (self.dir / "migrations/0003_again.sql").unlink()
        (self.dir / "migrations/0003_late.sql").rename(self.dir / "migrations/0002_late.sql")
        self.migration("0002_late", "CREATE TABLE b (id TEXT);\n\nCREATE TABLE pets (id TEXT);")
        self.assertIn("migrations/0002_late.sql:3: table pets already exists", self.run_it("--check").stderr)
        self.migration("0002_late", "CREATE TABLE b (id STRING);")
        self.assertIn('unknown datatype for b.id: "STRING"', self.run_it("--check").stderr)

    def test_the_hash_ignores_comments_and_blanks(self):
        def hash_now():
            out = self.dir / "out"
            self.assertEqual(self.run_it("--out", out).returncode, 0)
            return [line for line in (out / "migrations_gen.c").read_text().splitlines() if "sha256" in line]

        before = hash_now()
        self.migration("0001_pets", SCHEMA.replace("photo BLOB", "photo   BLOB -- a picture; of it"))
        self.assertEqual(hash_now(), before)
        self.migration("0001_pets", SCHEMA.replace("photo BLOB", "photo TEXT"))
        self.assertNotEqual(hash_now(), before)

    def test_output_is_not_touched_without_a_change(self):
        self.queries(GOOD)
        out = self.dir / "out"
        self.run_it("--out", out)
        before = (out / "queries_zoo.h").stat().st_mtime_ns
        self.run_it("--out", out)
        self.assertEqual((out / "queries_zoo.h").stat().st_mtime_ns, before)

    def compare(self, answer):
        self.queries(GOOD)
        return subprocess.run(
            [sys.executable, SQLGEN, "--migrations", self.dir / "migrations", "--queries", self.dir / "queries"]
            + ["--pg-compare"],
            input=answer,
            capture_output=True,
            text=True,
        )

    def test_postgresql_answer(self):
        good = "query pet_get\nname|text\nage|bigint\nphoto|bytea\nend\n"
        self.assertEqual(self.compare(good).returncode, 0)
        self.assertIn("column age is text", self.compare(good.replace("bigint", "text")).stderr)
        self.assertIn("columns (name, photo)", self.compare(good.replace("age|bigint\n", "")).stderr)
        self.assertIn("did not run to its end", self.compare(good.replace("end\n", "")).stderr)
        failed = "query pet_get\npsql:x.sql:9: ERROR:  no such thing\nend\n"
        self.assertIn("pet_get: PostgreSQL: no such thing", self.compare(failed).stderr)


if __name__ == "__main__":
    unittest.main()
