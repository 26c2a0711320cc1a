"""The operator's and the actor's page, served by the recording program itself."""
