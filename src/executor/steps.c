#include <stdio.h>

#include "executor/cache.h"
#include "executor/plan.h"
#include "os/file.h"

#define PULUMI_ENV_MAX_BYTES (1024 * 1024)
/* `pulumi … --expect-no-changes` when there are some (cli-protocol §7, exit codes). */
#define EXIT_CHANGES 7

struct run {
	struct runner *runner;
	struct channel *channel;
	struct plan *plan;
	struct arena *a;
	bool failed; /* a step failed: the later ones are only named */
	struct cache_restored restored;
};

/* Words of one command of the CLI; the stack and the common options come behind. */
struct operation_step {
	const char *operation;
	const char *header; /* runner-protocol "Step names" */
	const char *words[6];
	bool only_after_destroy;
	bool only_remediate;
};

static const struct operation_step operation_steps[] = {
	{ "update", "pulumi update", { "up", "--yes", "--skip-preview" } },
	{ "preview", "pulumi preview", { "preview" } },
	{ "refresh", "pulumi refresh", { "refresh", "--yes", "--skip-preview" } },
	{ "destroy", "pulumi destroy", { "destroy", "--yes", "--skip-preview" } },
	{ "destroy", "pulumi stack rm", { "stack", "rm", "--yes" }, .only_after_destroy = true },
	{ "detect-drift", "pulumi refresh --preview-only", { "refresh", "--preview-only" } },
	{ "detect-drift",
	  "pulumi up --refresh",
	  { "up", "--refresh", "--yes", "--skip-preview" },
	  .only_remediate = true },
	{ "remediate-drift", "pulumi up --refresh", { "up", "--refresh", "--yes", "--skip-preview" } },
};

static void begin(struct run *run, const char *name)
{
	channel_frame(run->channel, FRAME_STEP_BEGIN, str_of(name));
	run->channel->in_line = false;
}

static void frame_with_flag(struct channel *c, char type, bool ok, const char *sentence)
{
	char payload[ERR_MESSAGE_MAX + 2];
	int n = snprintf(payload, sizeof(payload), "%c%s", ok ? 1 : 0, sentence);
	channel_frame(c, type, (struct str){ payload, n < (int)sizeof(payload) ? (size_t)n : sizeof(payload) - 1 });
}

/* Ends the running step; `r` < 0 makes it failed, with the error's message as the reason. */
static int end(struct run *run, int r, struct err *e)
{
	if (r >= 0 && run->channel->cancelled)
		r = err_set(e, ERR_CANCELLED, "cancelled");
	frame_with_flag(run->channel, FRAME_STEP_END, r >= 0, r >= 0 ? "" : e->message);
	run->failed = run->failed || r < 0;
	return r < 0 ? r : 0;
}

static int exit_error(struct run *run, const char *what, struct process_status s, struct err *e)
{
	char text[64];
	if (run->channel->cancelled)
		return err_set(e, ERR_CANCELLED, "%s was cancelled", what);
	if (!s.signalled && s.code == 0)
		return 0;
	return err_set(e, ERR_BAD_REQUEST, "%s failed: %s", what, process_status_text(s, text, sizeof(text)));
}

/* The CLI closes its update on SIGINT, and waits for the resources that are being made. */
static struct runner_patience patience(const struct run *run, bool pulumi)
{
	int64_t ms = run->plan->patience_ms;
	return (struct runner_patience){ pulumi ? ms : plan_other_patience(ms), plan_kill_patience(ms) };
}

static int run_shell(struct run *run, const char *what, const char *shell, const char *dir, const char *command,
		     struct err *e)
{
	const char *argv[] = { shell, "-c", command, NULL };
	struct process_status s;
	channel_line(run->channel, "$ %s", command);
	/* What ran before may have taken the folder away; the system's words for that name the shell. */
	if (!file_is_dir(dir))
		return err_set(e, ERR_NOT_FOUND, "the folder %s is not there any more", dir);
	int r = runner_run(run->runner, argv, dir, run->plan->env, patience(run, false), &s, e);
	if (r == -ERR_NOT_FOUND && streq(argv[0], "bash")) {
		/* The default, which small images lack: plain commands mean the same to sh. */
		channel_line(run->channel, "bash is not installed where this deployment runs: sh is used.");
		run->plan->shell = argv[0] = "sh";
		r = runner_run(run->runner, argv, dir, run->plan->env, patience(run, false), &s, e);
	}
	if (r == -ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "the shell '%s' is not installed where this deployment runs", shell);
	return r < 0 ? r : exit_error(run, what, s, e);
}

static int load_pulumi_env(struct run *run, struct err *e)
{
	const char *path = env_set_get(run->plan->env, "PULUMI_ENV_FILE");
	_cleanup_buf_ struct buf said;
	_cleanup_arena_ struct arena scratch;
	struct str text;
	arena_init(&scratch, 4 * PULUMI_ENV_MAX_BYTES);
	buf_init(&said, FRAME_MAX_BYTES);
	int r = path ? file_read_regular(&scratch, path, PULUMI_ENV_MAX_BYTES, &text, e) : -ERR_NOT_FOUND;
	if (r == -ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	if (!env_set_load(run->plan->env, text, &said))
		return err_set(e, ERR_TOO_LARGE, "PULUMI_ENV holds too many variables");
	if (said.len)
		channel_say(run->channel, buf_str(&said));
	return 0;
}

static int pre_run(struct run *run, struct err *e)
{
	for (size_t i = 0; run->plan->pre_run[i]; i++) {
		const char *name = arena_printf(run->a, "Pre-run command %zu", i + 1);
		if (run->failed) {
			channel_frame(run->channel, FRAME_STEP_SKIPPED, str_of(name));
			continue;
		}
		begin(run, name);
		int r = run_shell(run, name, run->plan->shell, run->plan->work_dir, run->plan->pre_run[i], e);
		if (r == 0)
			r = load_pulumi_env(run, e);
		end(run, r, e);
	}
	return run->failed ? -(int)e->code : 0;
}

/* Later steps find this environment's programs first, as after `source bin/activate`. */
static bool activate(struct run *run, const char *folder)
{
	struct env_set *env = run->plan->env;
	const char *full = folder[0] == '/' ? folder : arena_printf(run->a, "%s/%s", run->plan->work_dir, folder);
	const char *path = env_set_get(env, "PATH");
	const char *both = arena_printf(run->a, "%s/bin:%s", full ? full : "", path ? path : "/usr/bin:/bin");
	return full && both && env_set_put(env, STR("VIRTUAL_ENV"), str_of(full)) &&
	       env_set_put(env, STR("PATH"), str_of(both));
}

static bool has_modules(struct run *run, const char *dir)
{
	return file_exists(arena_printf(run->a, "%s/node_modules/.package-lock.json", dir));
}

/* Whether what the cache brought is still what the lock file asks for: commands ran in between. */
static bool is_restored(struct run *run, const struct dependency_plan *plan)
{
	struct cache_choice now;
	return run->restored.key && strstr(run->restored.places, "/node_modules") && has_modules(run, plan->dir) &&
	       cache_choose(run->plan, run->a, &now, NULL) == 0 && streq(now.key, run->restored.key);
}

static int install(struct run *run, struct err *e)
{
	struct project project;
	struct dependency_plan plan;
	int r = project_load(run->plan->work_dir, run->a, &project, e);
	if (r == 0)
		r = dependencies_plan(run->plan->tree, run->plan->work_dir, &project, run->a, &plan, e);
	if (r < 0)
		return r;
	if (plan.said)
		channel_line(run->channel, "%s", plan.said);
	if (plan.tool && !process_find(run->a, plan.tool, env_set_get(run->plan->env, "PATH")))
		return err_set(e, ERR_NOT_FOUND,
			       "%s is not installed where this deployment runs: install it on the runner, "
			       "or set skipInstallDependencies and bring it with a pre-run command",
			       plan.tool);
	if (plan.check && is_restored(run, &plan)) {
		r = run_shell(run, "Download dependencies", "sh", plan.dir, plan.check, e);
		/* Should an old version of it take them away nevertheless, they are installed. */
		if (r < 0 || has_modules(run, plan.dir))
			return r;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(plan.commands) && plan.commands[i]; i++)
		r = run_shell(run, "Download dependencies", "sh", plan.dir, plan.commands[i], e);
	if (r == 0 && plan.activate && !activate(run, plan.activate))
		r = err_nomem(e);
	return r;
}

/* *ret_changes: drift was found (only asked for when it is to be remediated). */
static int run_pulumi(struct run *run, const struct operation_step *step, bool *ret_changes, struct err *e)
{
	const char *argv[16] = { "pulumi" };
	struct process_status s;
	_cleanup_buf_ struct buf echo;
	size_t n = 1;
	bool detect = run->plan->remediate_if_drift_detected && streq(step->header, "pulumi refresh --preview-only");
	for (size_t i = 0; i < ARRAY_SIZE(step->words) && step->words[i]; i++)
		argv[n++] = step->words[i];
	argv[n++] = "--stack";
	argv[n++] = run->plan->stack;
	argv[n++] = "--non-interactive";
	argv[n++] = "--color=always";
	if (detect)
		argv[n++] = "--expect-no-changes";
	buf_init(&echo, FRAME_MAX_BYTES);
	for (size_t i = 0; i < n; i++)
		buf_addf(&echo, "%s%s", i ? " " : "$ ", argv[i]);
	buf_addc(&echo, '\n');
	channel_say(run->channel, buf_str(&echo));
	if (!file_is_dir(run->plan->work_dir))
		return err_set(e, ERR_NOT_FOUND, "the folder %s is not there any more", run->plan->work_dir);
	int r = runner_run(run->runner, argv, run->plan->work_dir, run->plan->env, patience(run, true), &s, e);
	if (r < 0)
		return r;
	*ret_changes = detect && !s.signalled && s.code == EXIT_CHANGES && !run->channel->cancelled;
	if (*ret_changes) {
		channel_line(run->channel, "Drift was detected: it is remediated in the next step.");
		return 0;
	}
	return exit_error(run, step->header, s, e);
}

static int run_operation(struct run *run, struct err *e)
{
	bool known = false, changes = false;
	for (size_t i = 0; i < ARRAY_SIZE(operation_steps); i++) {
		const struct operation_step *step = &operation_steps[i];
		if (!streq(step->operation, run->plan->operation))
			continue;
		known = true;
		if (step->only_after_destroy && !run->plan->delete_after_destroy)
			continue;
		if (step->only_remediate && !changes)
			continue;
		if (run->failed) {
			channel_frame(run->channel, FRAME_STEP_SKIPPED, str_of(step->header));
			continue;
		}
		begin(run, step->header);
		end(run, run_pulumi(run, step, &changes, e), e);
	}
	if (!known)
		return err_set(e, ERR_BAD_REQUEST, "unknown operation '%s'", run->plan->operation);
	return run->failed ? -(int)e->code : 0;
}

/* Programs append to it, and some look at it first. */
static int make_pulumi_env(struct run *run, struct err *e)
{
	const char *path = env_set_get(run->plan->env, "PULUMI_ENV_FILE");
	if (!path || file_exists(path))
		return 0;
	int r = file_mkdir_p(run->plan->root, 0755, e);
	return r < 0 ? r : file_write_new(path, STR(""), 0600, e);
}

/* A step of the cache: whatever happens, it succeeds, unless the run is cancelled. */
static void cache_step(struct run *run, const char *name, void (*fn)(struct run *run), struct err *e)
{
	if (!run->plan->cache)
		return;
	if (run->failed) {
		channel_frame(run->channel, FRAME_STEP_SKIPPED, str_of(name));
		return;
	}
	begin(run, name);
	fn(run);
	end(run, 0, e);
}

static void restore(struct run *run)
{
	cache_restore(run->channel, run->plan, run->a, &run->restored);
}

static void save(struct run *run)
{
	cache_save(run->channel, run->plan, run->restored.asked, run->a);
}

int steps_run(struct runner *runner, struct plan *plan, struct arena *a, struct err *e)
{
	struct run run = { .runner = runner, .channel = runner->channel, .plan = plan, .a = a };
	struct err ignored;
	/* Where it cannot be made (an odd root path), only those fail that want it. */
	(void)make_pulumi_env(&run, &ignored);
	cache_step(&run, "Restore cache", restore, e);
	(void)pre_run(&run, e);
	if (!plan->skip_install_dependencies) {
		if (run.failed) {
			channel_frame(run.channel, FRAME_STEP_SKIPPED, STR("Download dependencies"));
		} else {
			begin(&run, "Download dependencies");
			end(&run, install(&run, e), e);
		}
	}
	/* A stack that goes away needs nothing for its next run. */
	if (!(streq(plan->operation, "destroy") && plan->delete_after_destroy))
		cache_step(&run, "Save cache", save, e);
	int r = run_operation(&run, e);
	frame_with_flag(run.channel, FRAME_FINISH, r >= 0, r >= 0 ? "" : e->message);
	return r;
}
