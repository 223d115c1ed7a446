import ArgumentParser
import ControlSocket
import Diagnostics
import Glibc
import KMSService
import ServiceRuntime
import SiteFailover
import WireText

/// `hdsctl failover`: which server of the database is the one that counts.
struct FailoverCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover",
        abstract: "Make another server of the database the one that counts, and say whether anything is lost by it.",
        discussion: """
            Run it on a node of the site that is to go on, as a user who may read the configuration of hds-kms \
            (docs/failover.md). Each step is in a journal before and after it; a run that was cut off goes on where it was \
            when the same command is given again.
            Exit codes: 0 done; 69 refused, or a check fails; 75 unknown whether something is lost, --force accepts it.
            """,
        subcommands: [Plan.self, Promote.self, Failback.self, Asynchronous.self, Drill.self])

    struct Place: ParsableArguments {
        @Option(help: "The configuration of this node's hds-kms.", completion: .file())
        var config = "/etc/hds/hds-kms.yaml"
        @Option(help: "The journal; without it failover.journal in the node's data folder.", completion: .file())
        var journal: String?
        @Flag(help: "Print one JSON object.")
        var json = false

        func readiness() throws -> FailoverReadiness {
            try FailoverReadiness(try .read(config), .ofProcess)
        }

        func failover(_ readiness: FailoverReadiness) throws -> SiteFailover {
            SiteFailover(
                readiness.settings, seenEpoch: readiness.seenEpoch,
                journal: try FailoverJournal(path: journal ?? readiness.journal)
            ) { announce($0) }
        }

        func show(_ outcome: SiteFailover.Outcome) {
            guard json else {
                print(
                    Terminal.plain(
                        "\(outcome.target) is the server that counts, in epoch \(outcome.to) (before: \(outcome.from)), "
                            + "after \(outcome.seconds.tenths) s."))
                print(Terminal.plain("What was acknowledged: \(outcome.proof.word). \(outcome.proof.reason)."))
                if let old = outcome.old {
                    print(
                        Terminal.plain(
                            "Next: stop \(old) and make it a standby: \(FailoverSurvey.rebuild(old, from: outcome.target))."
                        ))
                }
                return
            }
            var writer = JSONWriter()
            writer.beginObject()
            writer.member("target", outcome.target)
            writer.member("fromEpoch", outcome.from)
            writer.member("epoch", outcome.to)
            writer.member("acknowledged", outcome.proof.word)
            writer.member("reason", outcome.proof.reason)
            writer.member("resumed", outcome.isResumed)
            writer.member("old", ifPresent: outcome.old)
            writer.member("seconds", outcome.seconds.tenths)
            writer.endObject()
            print(writer.text())
        }
    }

    struct Plan: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Look at everything that a failover needs; nothing is changed.")

        @OptionGroup var place: Place
        @Option(help: "The server that would take over, as store.postgresql.hosts names it.")
        var to: String?
        @Option(help: "The control socket of this node's service.", completion: .file())
        var socket: String?

        func run() throws {
            var isFailing = false
            try reporting {
                let readiness = try place.readiness()
                let survey = FailoverSurvey(readiness.settings, seenEpoch: readiness.seenEpoch)
                let target =
                    to.map { survey.server($0) } ?? (survey.standbys.count == 1 ? survey.standbys[0] : nil)
                let checks =
                    survey.checks(target: target)
                    + readiness.checks(.ofProcess, rootKeyHolders: survey.rootKeyHolders) + [service(readiness)]
                isFailing = checks.contains { $0.result == .fail }
                show(checks, survey, target)
            }
            if isFailing { throw ExitCode(EX_UNAVAILABLE) }
        }

        /// How the node that runs here is, its link to the core included.
        private func service(_ readiness: FailoverReadiness) -> FailoverCheck {
            do {
                let path = socket ?? readiness.configuration.control.socket.path
                let answer = try ControlClient(path: path).send("status", arguments: ArgumentsWriter().node())
                let sentence = answer.text("sentence")
                return answer.text("status") == "fail"
                    ? FailoverCheck("service", .warn, sentence, fix: "see hdsctl status")
                    : FailoverCheck("service", .pass, sentence)
            } catch {
                return FailoverCheck(
                    "service", .warn, "the service of this node does not answer", fix: "systemctl start hds-kms")
            }
        }

        private func show(_ checks: [FailoverCheck], _ survey: FailoverSurvey, _ target: FailoverSurvey.Server?) {
            guard place.json else {
                for check in checks {
                    print(Terminal.plain("\(check.result.rawValue)  \(check.name): \(check.detail)"))
                    if let fix = check.fix { print(Terminal.plain("      fix: \(fix)")) }
                }
                return
            }
            var writer = JSONWriter()
            writer.beginObject()
            writer.member("epoch", survey.epoch)
            writer.member("target", ifPresent: target?.name)
            writer.member("acknowledged", ifPresent: target.map { survey.proof(of: $0).word })
            writer.name("checks")
            writer.beginArray()
            for check in checks { check.write(to: &writer) }
            writer.endArray()
            writer.endObject()
            print(writer.text())
        }
    }

    struct Promote: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a standby take over.",
            discussion: """
                Refused while the old primary gives leases; --switch-over closes its epoch first and waits until the standby \
                has all of its log. With the old primary out of reach the promise of synchronous commits proves that nothing \
                acknowledged is lost; without it the outcome is unknown and needs --force.
                """)

        @OptionGroup var place: Place
        @Option(help: "The server that takes over, as store.postgresql.hosts names it; without it the one standby.")
        var to: String?
        @Option(help: "What the site is called, for status and leases.")
        var site = ""
        @Flag(help: "The old primary runs: change over in order.")
        var switchOver = false
        @Flag(help: "Go on although something acknowledged may be lost.")
        var force = false

        func run() throws {
            try failing {
                var request = SiteFailover.Request()
                (request.target, request.site, request.isSwitchOver, request.isForced) = (to, site, switchOver, force)
                place.show(try place.failover(try place.readiness()).promote(request))
            }
        }
    }

    struct Failback: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Back to a server that was the primary once, when it is a standby again.")

        @OptionGroup var place: Place
        @Option(help: "The server to go back to.")
        var to: String
        @Option(help: "What the site is called, for status and leases.")
        var site = ""

        func run() throws {
            try failing {
                place.show(try place.failover(try place.readiness()).failback(to: to, site: site))
            }
        }
    }

    struct Drill: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lose a site on purpose, on a throw-away copy of everything on this machine.",
            discussion: """
                Two PostgreSQL servers with replication, a node at each, hds-auth, a core and clients at work, all on \
                loopback and in a folder that is thrown away; then the primary's site is lost, the other one is promoted, \
                and the old primary comes back. Once with synchronous commits and once without. It needs the packages \
                hds-appliance, hds-reference-core, hds-client and postgresql; a test machine is the place for it. Nothing of \
                an installation is touched. Ends with 1 when something is not as promised, with 75 when it could not be tried.

                Example: hdsctl failover drill --commits synchronous --json
                """)

        enum Commits: String, ExpressibleByArgument, CaseIterable { case synchronous, asynchronous }

        @Option(help: "Only with these commits.")
        var commits: Commits?
        @Flag(help: "Print one JSON object for each drill.")
        var json = false
        @Option(help: "The folder of the programs, when they are not beside this one.", completion: .directory)
        var programs: String?

        func run() throws {
            var arguments = ["--programs", programs ?? DrillScript.folder]
            if let commits { arguments += ["--commits", commits.rawValue] }
            if json { arguments.append("--json") }
            try reporting { try DrillScript("drill-failover").run(arguments) }
        }
    }

    struct Asynchronous: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give the promise of synchronous commits up, to go on without a standby.",
            discussion: """
                From then on the loss of the primary may lose what was acknowledged. Empty synchronous_standby_names after \
                it. The promise stands again when a standby confirms commits again.
                """)

        @OptionGroup var place: Place
        @Flag(help: "Go on although no standby can be told: it has to be made anew before it may be promoted.")
        var force = false

        func run() throws {
            try failing {
                let epoch = try place.failover(try place.readiness()).giveUpSynchronous(isForced: force)
                guard place.json else { return print("Commits need no standby from now on, epoch \(epoch).") }
                var writer = JSONWriter()
                writer.beginObject()
                writer.member("epoch", epoch)
                writer.endObject()
                print(writer.text())
            }
        }
    }
}

/// As `reporting`, with the codes of this command.
private func failing(_ work: () throws -> Void) throws {
    do {
        try work()
    } catch let error as DiagnosedError where error.code == .failoverUnknown {
        complain("hdsctl: \(error)")
        throw ExitCode(EX_TEMPFAIL)
    } catch {
        try reporting { throw error }
    }
}

extension Double {
    /// With one decimal.
    fileprivate var tenths: String {
        let tenths = Int64((self * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
