//! The published snapshot: what every reader answers from.

use crate::query::View;
use crate::update::policy::Rights;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// Holds the current [`View`] and [`Rights`]. Readers take them without a lock and keep them for one message; old
/// ones live until the last reader is done. Only the writer replaces them, so nothing is overwritten unseen.
#[derive(Debug, Default)]
pub(crate) struct Published {
    view: ArcSwap<View>,
    rights: ArcSwap<Rights>,
}

impl Published {
    /// The current view, for one message.
    pub(crate) fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// Who may change what.
    pub(crate) fn rights(&self) -> Guard<Arc<Rights>> {
        self.rights.load()
    }

    pub(super) fn set_view(&self, view: View) {
        self.view.store(Arc::new(view));
    }

    pub(super) fn set_rights(&self, rights: Rights) {
        self.rights.store(Arc::new(rights));
    }
}
