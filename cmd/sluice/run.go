package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/sluicedaq/sluice/internal/config"
)

// cli is the grammar: one command per file cmd_*.go.
type cli struct {
	config.Common
	Run     runCmd     `cmd:"" help:"Record a run: start a broker, acquire, writers and analysers, and show how it goes."`
	Verify  verifyCmd  `cmd:"" help:"Prove from the disk alone that every frame of a store is there or in its ledger."`
	Recover recoverCmd `cmd:"" help:"Complete the store of a run that ended without: what is durable can be read, the rest is named."`
	Ctl     ctlCmd     `cmd:"" help:"Control a camera."`
	Monitor monitorCmd `cmd:"" help:"Watch a camera."`
	Env     envCmd     `cmd:"" help:"Print how other programs reach a local run's broker, as shell commands."`
	Slabs   slabsCmd   `cmd:"" help:"List the shared memory of runs, or remove what dead ones left."`
	Bench   benchCmd   `cmd:"" help:"Measure what this machine holds, beside what it could."`
	Health  healthCmd  `cmd:"" help:"Ask processes whether they are well."`
	Doctor  doctorCmd  `cmd:"" help:"Check whether this machine is fit to record."`
	Broker  brokerCmd  `cmd:"" hidden:"" help:"The NATS server of a run, as sluice run starts it."`
}

// process is what a command gets from main.
type process struct {
	config.Common
	args           []string
	hard           <-chan struct{} // closed by the second interrupt
	getenv         func(string) string
	stdout, stderr io.Writer
	log            *slog.Logger
}

// command is one of cli's fields.
type command interface {
	run(ctx context.Context, p *process) error
}

// run parses the arguments and runs the command that they name. ctx ends with the first interrupt.
func run(ctx context.Context, hard <-chan struct{}, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var c cli
	chosen, err := config.Parse(config.Program{
		Name: "sluice", Description: "Streams frames from high-rate cameras to disk and to live spectra.",
		CLI: &c, Args: args, Getenv: getenv, Stdout: stdout,
	})
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(chosen, " ")
	commands := map[string]command{
		"run": &c.Run, "verify": &c.Verify, "recover": &c.Recover, "ctl": &c.Ctl, "monitor": &c.Monitor, "env": &c.Env,
		"slabs": &c.Slabs, "bench": &c.Bench, "health": &c.Health, "doctor": &c.Doctor, "broker": &c.Broker,
	}
	cmd, ok := commands[name]
	if !ok {
		return fmt.Errorf("the command %q was parsed but is not known", chosen)
	}
	p := &process{Common: c.Common, args: args, hard: hard, getenv: getenv, stdout: stdout, stderr: stderr}
	p.log = c.Logger(stderr, name)
	return cmd.run(ctx, p)
}
