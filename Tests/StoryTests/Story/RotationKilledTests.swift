import Foundation
import Glibc
import HDSClient
import KMSClient
import KMSProtocol
import TestServers
import Testing

extension StoryTests {
    /// The service ended at each step of a rotation, before, within and after its own writes.
    ///
    /// One place within each step, with PostgreSQL within four steps; two within each with `deploy/test --long`, and thirty
    /// with `HDS_ALL_FAILPOINTS=1`.
    @Suite("A rotation of the root key, killed at every step") struct RotationKilledTests {
        enum Step: CaseIterable {
            case generate, undoGenerate, stage, promote, undoPromote, reseal, destroy, undoDestroy, destroyDue
        }

        /// Where each step is struck, one place for each rotation; nil: one rotation, at one place after the other.
        private static var places: [Int?] {
            if ProcessInfo.processInfo.environment["HDS_ALL_FAILPOINTS"] != nil { return Array(1...30) }
            return LongTests.areWanted ? [2, 11] : [nil]
        }

        @Test("SQLite: killed, torn writes, lost power; what was acknowledged is read, each step is done or not done")
        func sqlite() async throws {
            guard let library = await Failpoints.library.value else { return }
            try await Deployment.with(change: { try KeyDesk.prepare($0) }) { deployment in
                try await Rounds(deployment, library, port: nil, Step.allCases).run(Self.places)
            }
        }

        @Test("PostgreSQL: killed before each piece for the database", .enabled(if: TestPostgreSQL.isInstalled))
        func postgreSQL() async throws {
            guard let library = await Failpoints.library.value else { return }
            let server = try await TestPostgreSQL.start()
            defer { server.end() }
            let change: (Domain) throws -> Void = { domain in
                try KeyDesk.prepare(domain)
                try KeyDesk.useDatabase(server, in: Service.kms.configuration, of: domain)
            }
            try await Deployment.with(change: change) { deployment in
                let steps = LongTests.areWanted ? Step.allCases : [.stage, .promote, .reseal, .destroyDue]
                try await Rounds(deployment, library, port: server.port, steps).run(Self.places)
            }
        }

        /// One deployment, rotated again and again.
        private final class Rounds {
            private let deployment: Deployment
            private let library: String
            private let port: Int?
            /// The others are taken without a blow.
            private let struck: [Step]
            private let keys: KeyDesk
            private let alice: Person
            /// Every key that was acknowledged.
            private var known: [String] = []
            /// How often a step was found done, and not done, after it was struck.
            private var found: [Step: (done: Int, undone: Int)] = [:]

            init(_ deployment: Deployment, _ library: String, port: Int?, _ struck: [Step]) async throws {
                (self.deployment, self.library, self.port, self.struck) = (deployment, library, port, struck)
                keys = try await KeyDesk.enrol(deployment)
                alice = try await Person.logIn("alice", in: deployment)
                // Something to be sealed again, more than one batch.
                for _ in 0..<3 { _ = try await alice.client.kms.perform(.createKeys(count: 100)) }
            }

            func run(_ places: [Int?]) async throws {
                for (round, place) in places.enumerated() {
                    let how = port == nil ? [Failpoints.How.torn, .power, .kill][round % 3] : .kill
                    try await self.round(at: place, how)
                }
                for step in Step.allCases { print("\(step): \(String(describing: found[step]))") }
                // Where nothing was ever done, or everything always, the places were not within the steps.
                if struck.count == Step.allCases.count {
                    #expect(found.values.map(\.undone).reduce(0, +) > 0 && found.values.map(\.done).reduce(0, +) > 0)
                }
                await alice.close()
            }

            // MARK: One rotation

            private func round(at place: Int?, _ how: Failpoints.How) async throws {
                let space = try await alice.spaces.create(name: "Space \(UUID())", with: [])
                try await alice.spaces.post("hello", in: space)
                known += try alice.keyURIs(of: space)
                let old = try await active()
                func strike(_ step: Step, isDone: () async throws -> Bool, _ take: () async throws -> Void) async throws
                {
                    if let turn = struck.firstIndex(of: step) {
                        try await self.strike(step, at: place ?? [2, 11][turn % 2], how, take)
                        let done = try await isDone()
                        found[step, default: (0, 0)].done += done ? 1 : 0
                        found[step, default: (0, 0)].undone += done ? 0 : 1
                        // Repeated it ends well; one that is done is found done by whoever looks.
                        if !done { try await take() }
                    } else {
                        try await take()
                    }
                    #expect(try await isDone(), "\(step), \(how)")
                }
                func has(_ state: String) async throws -> Bool {
                    try await keys.versions().contains { $0.state == state }
                }
                try await strike(.generate, isDone: { try await has("inert") }) { try await keys.ask("generate") }
                try await strike(.undoGenerate, isDone: { try await !has("inert") }) { try await keys.ask("undo") }
                try await keys.ask("generate")
                try await strike(.stage, isDone: { (try? await keys.ask("stage")) != nil }) {
                    try await keys.ask("stage")
                }
                try await strike(.promote, isDone: { try await active() != old }) { try await promote() }
                // Too late once everything is sealed again: then there is nothing to take back, and the refusal says so.
                try await strike(
                    .undoPromote,
                    isDone: {
                        if try await active() == old { return true }
                        return try await !has("retiring")
                    }
                ) {
                    _ = try? await keys.ask("undo")
                }
                // Back and forth: what was taken back may be taken back as well, as long as nothing has retired.
                if (try? await keys.ask("undo")) == nil {
                    try await keys.ask("generate")
                    try await keys.ask("stage")
                    try await promote()
                }
                try await strike(.reseal, isDone: { try await !has("retiring") }) {
                    _ = try await eventually("the old version to retire") { try await has("retiring") ? nil : true }
                }
                let new = try await active()
                #expect(new != old)
                // Values of what was retired are nowhere.
                #expect(try await keys.versions().allSatisfy { $0.number == new || $0.values == 0 })
                _ = try await eventually("a certificate") { try? await keys.ask("certificate") }
                try await keys.provedBackup()
                try await strike(.destroy, isDone: { try await keys.destruction() == old }) {
                    try await keys.confirmed("master-key", "destroy", "\(old)")
                }
                try await strike(.undoDestroy, isDone: { try await keys.destruction() == nil }) {
                    try await keys.ask("undo")
                }
                try await window("1s")
                try await strike(
                    .destroyDue,
                    isDone: { try await keys.versions().contains { $0.number == old && $0.state == "destroyed" } }
                ) {
                    let isRetired = try await keys.versions().contains { $0.number == old && $0.state == "retired" }
                    if isRetired, try await keys.destruction() == nil {
                        try await keys.confirmed("master-key", "destroy", "\(old)")
                    }
                    _ =
                        try await eventually("the destruction") {
                            try await keys.versions().contains { $0.number == old && $0.state == "destroyed" }
                                ? true : nil
                        } as Bool
                }
                try await window(nil)
            }

            private func active() async throws -> Int64 {
                try #require(try await keys.versions().first { $0.state == "active" }).number
            }

            /// A node proves a version that it has just loaded within half a second.
            private func promote() async throws {
                _ = try await eventually("the promotion") { try? await keys.ask("promote") }
            }

            private func window(_ text: String?) async throws {
                let file = Service.kms.configuration
                if let text {
                    try deployment.domain.replace(
                        "control:\n", with: "root-key:\n  destroy-undo-window: \(text)\ncontrol:\n", in: file)
                } else {
                    try deployment.domain.replace("root-key:\n  destroy-undo-window: 1s\n", with: "", in: file)
                }
            }

            // MARK: One blow

            /// Restarts the service with failpoints, begins the step, waits for the end, starts it again and looks.
            private func strike(
                _ step: Step, at place: Int, _ how: Failpoints.How, _ take: () async throws -> Void
            ) async throws {
                let armed = deployment.domain.path("armed")
                try await deployment[.kms]?.cut()
                let child = try deployment.start(
                    .kms,
                    environment: Failpoints.environment(
                        library, number: place, how,
                        files: port == nil ? deployment.domain.path("kms/kms.sqlite") : nil,
                        port: port, armed: armed))
                try await deployment.waitUntilReady(.kms)
                try deployment.domain.write("", to: "armed")
                // Answered or not: the service ends at that place, if not in this step then at its next beat.
                try? await take()
                #expect(try await child.end() == .signal(SIGKILL), "\(step): \(child.tail())")
                unlink(armed)
                try deployment.start(.kms)
                try await deployment.waitUntilReady(.kms)
                let states = try await keys.versions()
                #expect(states.count { $0.state == "active" } == 1, "\(step) at \(place), \(how): \(states)")
                #expect(states.count { ["inert", "retiring"].contains($0.state) } <= 1, "\(step): \(states)")
                #expect(states.allSatisfy { $0.values == 0 || ["active", "retiring"].contains($0.state) }, "\(states)")
                for key in known {
                    guard case .allowed = try await alice.client.verdict(onKey: key) else {
                        Issue.record("\(key) is not readable after \(step) at \(place), \(how)")
                        continue
                    }
                }
            }
        }
    }
}
