import Diagnostics
import KeyStorePostgreSQL

// What a survey says of the second server.
extension FailoverSurvey {
    package struct Redundancy: Sendable, Equatable {
        /// Standbys with a connection to their primary.
        package var following: [String]
        /// How many octets of the log the one that is nearest lacks; nil without one, or without a primary.
        package var behind: Int64?
        /// Each server with what is wrong with it, for people.
        package var missing: [String]

        package init(following: [String], behind: Int64?, missing: [String]) {
            self.following = following
            self.behind = behind
            self.missing = missing
        }
    }

    package var redundancy: Redundancy {
        let following = standbys.filter { $0.seen?.isReceiving == true }
        let position = primary?.seen?.position
        let behind = following.compactMap { server in
            server.seen.flatMap { view in position.map { max(0, $0 - view.replayed) } }
        }.min()
        let missing = servers.compactMap { server -> String? in
            switch server.view {
            case .failure(let error): "\(server.name): \(error.summary)"
            case .success(let view) where view.isStandby && !view.isReceiving: "\(server.name) has no connection"
            case .success: nil
            }
        }
        return Redundancy(following: following.map(\.name), behind: behind, missing: missing)
    }
}
