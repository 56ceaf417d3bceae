#!/usr/bin/env bash
# Applies the migrations to a real PostgreSQL and prepares every statement there, with typed parameters; names and types
# of the columns are compared with `out:`. So the second engine stays possible while only SQLite runs.
#
#   pg_prepare.sh [--migrations DIR --queries DIR]     (default: those of sql/)
#
# The server is a throw-away one: in a temporary directory, on a unix socket only.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

bin=
for candidate in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
	[[ -x $candidate/initdb ]] && bin=$candidate # the newest
done
if [[ -z $bin ]]; then
	initdb=$(command -v initdb) || {
		echo "pg_prepare.sh: no PostgreSQL server found (Debian: apt-get install postgresql)" >&2
		exit 1
	}
	bin=$(dirname "$initdb")
fi

dir=$(mktemp -d /tmp/slipway-pg.XXXXXX)
# PostgreSQL refuses to run as root.
as=()
if ((EUID == 0)); then
	chown postgres "$dir"
	as=(runuser -u postgres --)
fi
stop() {
	# Not a file of the server's: it is there only while postgres runs.
	[[ -f $dir/data/postmaster.pid ]] && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1
	rm -rf "$dir"
}
trap stop EXIT

cd "$dir"
quiet() { "$@" >"$dir/log" 2>&1 || {
	cat "$dir/log" >&2
	exit 1
}; }
quiet "${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync
quiet "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/data/server.log" \
	-o "-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=off -c full_page_writes=off" start

python3 "$root/tools/sqlgen.py" "$@" --pg-script >"$dir/script.sql"
"$bin/psql" -X -h "$dir" -U postgres -d postgres -f "$dir/script.sql" >"$dir/answer" 2>&1 || true
python3 "$root/tools/sqlgen.py" "$@" --pg-compare <"$dir/answer"
