import Foundation
import TestServers
import Testing

extension StoryTests {
    /// The four services of the appliance with their consent and nothing to do. With `HDS_BIN=FOLDER` those of another build.
    @Suite("The four services, idle", .enabled(if: LongTests.areWanted)) struct IdleServicesTests {
        private static let services =
            "services:\n"
            + "  - {name: indexer, type: search-indexing, subject: hds-indexer, spaces: all, notAfter: 2099-12-31}\n"
            + "  - {name: ediscovery, type: ediscovery, subject: hds-ediscovery, spaces: all, notAfter: 2099-12-31}\n"
            + "  - {name: calendar, type: calendar, subject: hds-calendar, spaces: all, notAfter: 2099-12-31, "
            + "operations: [create, update]}\n"

        /// Megabytes of a line of /proc/PID/smaps_rollup, which counts what several share in equal parts (Pss).
        private static func memory(_ pid: pid_t, _ name: String) throws -> Double {
            let text = try String(contentsOfFile: "/proc/\(pid)/smaps_rollup", encoding: .utf8)
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(name + ":") })
            return try #require(Double(line.split(separator: " ")[1])) / 1024
        }

        @Test("Together they hold less than 200 MB")
        func memory() async throws {
            let domain = try await Domain.make()
            try await domain.enter(service: "indexer", cloud: ",feed:conversations")
            try await domain.enter(service: "ediscovery", cloud: ",feed:conversations,content:remove")
            try await ConnectorNode.enter(domain)
            try await domain.sign(policy: 1, Self.services)
            try domain.write(#"{"people":[]}"#, to: "ediscovery/people.json")
            let sections = [
                "indexer":
                    "index:\n  database: index.sqlite\n  files:\n    reader: \(Repository.program("hds-extract"))",
                "ediscovery": "mirror:\n  database: mirror.sqlite\n  directory: people.json",
            ]
            let deployment = Deployment(domain)
            var children: [(name: String, child: ChildProcess)] = []
            do {
                try await deployment.startAll()
                children.append(("hds-kms", try #require(deployment[.kms])))
                for (service, section) in sections.sorted(by: { $0.key < $1.key }) {
                    let port = try LoopbackPort.take()
                    let file = "\(service)/node.yaml"
                    try domain.write(
                        try domain.configuration(of: service, node: "\(service)-1", health: port, section), to: file)
                    let began = ContinuousClock.now
                    let child = try ChildProcess(
                        Repository.program("hds-\(service)"), ["--config", domain.path(file)],
                        output: domain.path("log/\(service).log"))
                    children.append(("hds-\(service)", child))
                    _ =
                        try await eventually("\(service) ready", seen: { child.tail() }) {
                            (try? await HealthAddress(port: port, place: nil).answer("/readyz"))?.status == 200
                                ? true : nil
                        } as Bool
                    print("idle: hds-\(service) ready after \(began.duration(to: .now))")
                }
                let calendar = try ConnectorNode.start("calendar-1", in: domain, users: [], server: 1)
                children.append(("hds-calendar", calendar.child))
                try await calendar.waitUntilReady()
                // Pages of the start are let go, and a first round of everything is over.
                try await Task.sleep(for: .seconds(15))
                var (resident, shared) = (0.0, 0.0)
                for (name, child) in children {
                    let (rss, pss) = (try Self.memory(child.pid, "Rss"), try Self.memory(child.pid, "Pss"))
                    print("idle: \(name) resident \(Int(rss)) MB, its part \(Int(pss)) MB")
                    (resident, shared) = (resident + rss, shared + pss)
                }
                print("idle: together resident \(Int(resident)) MB, their parts \(Int(shared)) MB")
                #expect(resident < 200)
                for (_, child) in children.dropFirst() { try await child.cut() }
                try await deployment.end()
            } catch {
                for (_, child) in children.dropFirst() { try? await child.cut() }
                try? await deployment.end()
                throw error
            }
        }
    }
}
