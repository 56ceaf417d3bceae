/* Stands in for commands whose rooms are not in this build. */
#include "cli/command.h"

#ifndef SLIPWAY_ROOM_AGENT
int command_agent(struct invocation *in, struct err *e)
{
	return err_set(e, ERR_NOT_BUILT, "this build has no agent");
}
#endif
#ifndef SLIPWAY_ROOM_DEPLOY
int command_dev(struct invocation *in, struct err *e)
{
	return err_set(e, ERR_NOT_BUILT, "this build has no deployments");
}
#endif
