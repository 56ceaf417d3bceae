/* What git, ssh and libcurl say (LC_ALL=C), and what it means: one table. */
#include "agent/git.h"

static const struct {
	enum git_fault fault;
	const char *said;
	const char *meant; /* for the user, in front of git's own words; NULL: they are clear */
} words[] = {
	{ GIT_FAULT_REFUSED, "Authentication failed",
	  "the server does not accept the credentials of the settings (sourceContext.git.gitAuth)" },
	{ GIT_FAULT_REFUSED, "could not read Username",
	  "the repository does not exist or wants credentials, and the settings hold none for it" },
	{ GIT_FAULT_REFUSED, "could not read Password",
	  "the repository does not exist or wants credentials, and the settings hold none for it" },
	{ GIT_FAULT_REFUSED, "incorrect passphrase",
	  "the passphrase of the ssh key (sshAuth.password) is missing or wrong" },
	{ GIT_FAULT_REFUSED, "Load key", "the ssh key of the settings cannot be used" },
	{ GIT_FAULT_REFUSED, "Host key verification failed",
	  "the server's ssh key is not the one that this runner has met before (known_hosts in the runner's work "
	  "folder)" },
	{ GIT_FAULT_REFUSED, "REMOTE HOST IDENTIFICATION HAS CHANGED", NULL },
	{ GIT_FAULT_REFUSED, "Permission denied (", "the server does not accept the ssh key of the settings" },
	{ GIT_FAULT_REFUSED, "SSL certificate problem",
	  "the server's certificate is not trusted by this runner; for an authority of your own start the agent with "
	  "GIT_SSL_CAINFO=FILE in its environment" },
	{ GIT_FAULT_REFUSED, "certificate verification failed",
	  "the server's certificate is not trusted by this runner; for an authority of your own start the agent with "
	  "GIT_SSL_CAINFO=FILE in its environment" },
	{ GIT_FAULT_REFUSED, "find remote ref", "the repository has no such branch or tag" },
	{ GIT_FAULT_REFUSED, "no such remote ref", "the repository has no such branch or tag" },
	{ GIT_FAULT_REFUSED, "epository not found", NULL },
	{ GIT_FAULT_REFUSED, "does not appear to be a git repository", NULL },
	{ GIT_FAULT_REFUSED, "returned error: 400", NULL },
	{ GIT_FAULT_REFUSED, "returned error: 401", NULL },
	{ GIT_FAULT_REFUSED, "returned error: 403", NULL },
	{ GIT_FAULT_REFUSED, "returned error: 404", NULL },
	{ GIT_FAULT_REFUSED, "HTTP Basic: Access denied", NULL },
	{ GIT_FAULT_REFUSED, "Access denied", NULL },
	{ GIT_FAULT_REFUSED, "Invalid username or", NULL },
	{ GIT_FAULT_REFUSED, "Authorization error", NULL }, /* git-lfs; so are these */
	{ GIT_FAULT_REFUSED, "Authentication required", NULL },
	{ GIT_FAULT_REFUSED, "or object not found", NULL },
	{ GIT_FAULT_REFUSED, "bject does not exist", NULL },
	{ GIT_FAULT_REFUSED, "not our ref", NULL },
	{ GIT_FAULT_REFUSED, "unadvertised object", NULL },
	{ GIT_FAULT_FINAL, "transport 'file' not allowed",
	  "this runner clones nothing from its own file system, which this names" },
	{ GIT_FAULT_FINAL, "not allowed", NULL },
	{ GIT_FAULT_FINAL, "not supported", NULL },
	{ GIT_FAULT_FINAL, "No space left on device", "the runner's disk is full" },
	{ GIT_FAULT_LARGE, "File too large", "the repository is larger than this runner takes (--disk-limit)" },
	{ GIT_FAULT_LARGE, "died of signal 25", "the repository is larger than this runner takes (--disk-limit)" },
	{ GIT_FAULT_LARGE, "ut of memory", "git ran out of the memory that it may use for one repository" },
	{ GIT_FAULT_FINAL, "Permission denied", NULL },
	{ GIT_FAULT_FINAL, "epository '", NULL },
	{ GIT_FAULT_FINAL, "mismatched algorithms", "repositories whose hashes are SHA-256 are not fetched" },
	{ GIT_FAULT_FINAL, "dubious ownership", NULL },
	{ GIT_FAULT_FINAL, "does not exist", NULL },
	{ GIT_FAULT_FINAL, "No such file or directory", NULL },
	{ GIT_FAULT_FINAL, "not a tree", NULL },
	{ GIT_FAULT_FINAL, "did not match", NULL },
	{ GIT_FAULT_FINAL, "invalid path", NULL },
	{ GIT_FAULT_FINAL, "No url found for submodule", NULL },
	{ GIT_FAULT_FINAL, "cannot strip one component", NULL },
	{ GIT_FAULT_FINAL, "suspicious submodule name", NULL },
	{ GIT_FAULT_FINAL, "invalid value for 'submodule.", NULL },
	{ GIT_FAULT_NETWORK, "Could not resolve", NULL },
	{ GIT_FAULT_NETWORK, "Failed to connect", NULL },
	{ GIT_FAULT_NETWORK, "Couldn't connect", NULL },
	{ GIT_FAULT_NETWORK, "Connection refused", NULL },
	{ GIT_FAULT_NETWORK, "Connection reset", NULL },
	{ GIT_FAULT_NETWORK, "Connection closed", NULL },
	{ GIT_FAULT_NETWORK, "timed out", NULL },
	{ GIT_FAULT_NETWORK, "Operation too slow", NULL },
	{ GIT_FAULT_NETWORK, "early EOF", NULL },
	{ GIT_FAULT_NETWORK, "remote end hung up", NULL },
	{ GIT_FAULT_NETWORK, "unexpected disconnect", NULL },
	{ GIT_FAULT_NETWORK, "returned error: 5", NULL },
	{ GIT_FAULT_NETWORK, "returned error: 429", NULL },
};

static bool has(struct str s, const char *part)
{
	return s.n && memmem(s.p, s.n, part, strlen(part));
}

enum git_fault git_fault_of(struct str output)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (has(output, words[i].said))
			return words[i].fault;
	}
	return GIT_FAULT_UNKNOWN;
}

bool git_failure_is_transient(struct str output)
{
	enum git_fault fault = git_fault_of(output);
	return fault == GIT_FAULT_NETWORK || fault == GIT_FAULT_UNKNOWN;
}

bool git_is_refusal_of_commit(struct str output)
{
	static const char *const refusals[] = { "not our ref", "unadvertised object", "find remote ref",
						"no such remote ref" };
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		if (has(output, refusals[i]))
			return true;
	}
	return false;
}

/* git's own last word: the last line that names a fault, else the last line. What ssh said comes before git's own, which
 * only says that there was something. */
static struct str last_word(struct str output)
{
	struct str rest = output, last = STR("no reason given"), fault = STR_NULL;
	while (rest.p) {
		struct str line = str_trim(str_cut(rest, '\n', &rest));
		if (line.n == 0)
			continue;
		if (str_starts_with(line, "fatal: Could not read from remote"))
			fault = last;
		else if (str_starts_with(line, "fatal: ") || str_starts_with(line, "error: ") ||
			 str_starts_with(line, "ERROR: "))
			fault = line;
		last = line;
	}
	if (fault.p)
		last = fault;
	if (last.n > 400)
		last.n = 400;
	return last;
}

int git_error(struct str output, const char *verb, struct err *e)
{
	struct str word = last_word(output);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (words[i].meant && has(output, words[i].said))
			return err_set(e, words[i].fault == GIT_FAULT_LARGE ? ERR_TOO_LARGE : ERR_BAD_REQUEST,
				       "git %s failed: %s (%.*s)", verb, words[i].meant, STR_ARG(word));
	}
	return err_set(e, ERR_BAD_REQUEST, "git %s failed: %.*s", verb, STR_ARG(word));
}
