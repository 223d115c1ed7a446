import Foundation
import Testing

extension Drill {
    static let rollingRestart = Drill("rolling-restart", "three nodes started again one by one (SIGTERM)") { run in
        try await run.oneByOne { try await $0.start() }
    }

    static let rollingUpgrade = Drill(
        "rolling-upgrade", "three nodes of another release become this one", on: .oldRelease
    ) {
        run in
        try await run.oneByOne { try await $0.start(Repository.programs) }
    }
}

extension DrillRun {
    fileprivate func oneByOne(_ start: (ClusterNode) async throws -> Void) async throws {
        try await strike {
            for node in cluster.nodes {
                #expect(try await node.stop() == .exit(0))
                try await start(node)
                try await whole()
            }
        }
        try await recovered()
        try await restore {}
    }
}
