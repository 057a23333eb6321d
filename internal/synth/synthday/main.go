// Command synthday writes made network days into a folder.
package main

import (
	"flag"
	"fmt"
	"log"
	"strings"
	"time"

	"tidewatch/internal/synth"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("synthday: ")
	out := flag.String("out", "", "folder to write to")
	seed := flag.Uint64("seed", 1, "seed of the random numbers")
	start := flag.String("start", "2026-11-20", "first day")
	days := flag.Int("days", 1, "number of days")
	hosts := flag.Int("hosts", 30, "hosts with users")
	events := flag.Int("events", 0, "records of the logs that are written to aim at, as Zeek counts them; 0 for what the hosts do by themselves")
	activity := flag.Float64("activity", 1, "how busy the hosts are, if -events is 0")
	attacks := flag.String("attacks", "grid", "none, story, grid, or kinds of the grid such as scan,beacon")
	format := flag.String("format", "zeek", "zeek, json and eve, or several with commas")
	logs := flag.String("logs", "", "logs to write, such as conn,dns,ssl; empty for all")
	zip := flag.Bool("gzip", false, "compress the logs")
	flag.Parse()
	if *out == "" {
		log.Fatal("-out names no folder")
	}
	day, err := time.Parse(time.DateOnly, *start)
	if err != nil {
		log.Fatal(err)
	}
	o := synth.Options{Seed: *seed, Start: day, Days: *days, Hosts: *hosts, Activity: *activity, Attacks: *attacks, Gzip: *zip}
	if err := write(*out, o, *events, strings.Split(*format, ","), strings.FieldsFunc(*logs, func(r rune) bool { return r == ',' })); err != nil {
		log.Fatal(err)
	}
}

func write(out string, o synth.Options, events int, formats, logs []string) error {
	if events > 0 {
		a, err := synth.ActivityFor(o, events, logs...)
		if err != nil {
			return err
		}
		o.Activity = a
		fmt.Printf("activity %.3f\n", a)
	}
	return synth.New(o).Write(out, formats, logs)
}
