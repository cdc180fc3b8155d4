// Package config is the one way in which Sluice's commands are told what to do: flags over environment
// (SLUICE_…) over a YAML file, with the defaults that each option's help states.
//
// Options that several commands share are blocks (Common, NATS, Capture, …) that each command's struct
// embeds, so an option is defined, documented and checked once. [Env] turns a filled struct back into
// environment variables: that is how `sluice run` hands its options to its children.
package config
