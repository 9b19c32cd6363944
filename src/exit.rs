//! What an error means to whoever called: 1 failed, 2 usage or configuration.

use crate::bundle::BundleError;
use crate::config::ConfigError;
use crate::database::ConnectError;
use crate::desk::report::calendar::RefusedDay;
use crate::desk::reset::ResetError;
use crate::engine::golden::GoldenError;
use crate::engine::score::ScoreError;
use crate::engine::token::TokenError;
use crate::input::InputError;
use crate::kafka::KafkaError;
use crate::migrate::MigrateError;
use crate::stream::LaneError;
use crate::stream::store::StoreError;

/// 2 when a person must change a setting, a bundle or the command; 1 for everything else.
pub fn code_of(error: &anyhow::Error) -> u8 {
    let refused = error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.is::<BundleError>()
            || cause.is::<GoldenError>()
            || cause.is::<ScoreError>()
            || cause.is::<TokenError>()
            || cause.is::<InputError>()
            || cause.is::<MigrateError>()
            || cause.is::<RefusedDay>()
            || matches!(
                cause.downcast_ref(),
                Some(
                    ResetError::NoDemo(_)
                        | ResetError::InUse(_)
                        | ResetError::Connected
                        | ResetError::NotAsked
                )
            )
            || matches!(cause.downcast_ref(), Some(ConnectError::Refused(_)))
            || matches!(cause.downcast_ref(), Some(StoreError::Refused(_)))
            || matches!(cause.downcast_ref(), Some(LaneError::Refused(_)))
            || matches!(cause.downcast_ref(), Some(KafkaError::Refused { .. }))
    });
    if refused { 2 } else { 1 }
}
