# Shared by the scripts in tools/: where the cache is, and how progress is shown.
# To be sourced. Everything a person reads goes to standard error; standard output is for results.

slipway_cache=${SLIPWAY_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/slipway}

say() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# elapsed SECONDS -> "1m05s"
elapsed() {
	if (($1 >= 60)); then printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); else printf '%ds' "$1"; fi
}

# step LABEL COMMAND...: runs the command, keeps its output, and shows that time passes: on a terminal one
# line that is rewritten, else a line every fifteen seconds. A command that fails shows the end of its output.
step() {
	local label=$1 log pid start=$SECONDS next=15 rc=0 last
	shift
	log=$(mktemp "${TMPDIR:-/tmp}/slipway-step.XXXXXX")
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	[[ -t 2 ]] || say "  $label ..."
	while kill -0 "$pid" 2>/dev/null; do
		if [[ -t 2 ]]; then
			last=$(tail -n 1 "$log" | tr -d '\r\033' | cut -c1-60)
			printf '\r\033[K  %s (%s) %s' "$label" "$(elapsed $((SECONDS - start)))" "$last" >&2
			sleep 0.3
		else
			if ((SECONDS - start >= next)); then
				say "  $label ... $(elapsed $((SECONDS - start)))"
				next=$((next + 15))
			fi
			sleep 0.2
		fi
	done
	wait "$pid" || rc=$?
	[[ -t 2 ]] && printf '\r\033[K' >&2
	if ((rc == 0)); then
		say "  $label: done in $(elapsed $((SECONDS - start)))"
	else
		say "  $label: failed after $(elapsed $((SECONDS - start))), status $rc. The end of its output:"
		tail -n 25 "$log" | sed 's/^/    | /' >&2
	fi
	rm -f "$log"
	return "$rc"
}

# version_at_least HAVE WANT
version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# take_lock FILE: waits for other runs of the same tool; held until the script ends.
take_lock() {
	mkdir -p "$(dirname "$1")"
	exec {lock_fd}>"$1"
	if ! flock -n "$lock_fd"; then
		say "  another run is busy with the same thing; waiting for it"
		flock "$lock_fd"
	fi
}

# demo_pid DATA: the process that `make demo` started on that data, and not another one that got its number.
demo_pid() {
	local pid command
	pid=$(cat "$1/demo.pid" 2>/dev/null) && [[ -n $pid ]] || return 1
	command=$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null) || return 1
	[[ $command == *"slipway dev --data $1 "* ]] && printf '%s\n' "$pid"
}
